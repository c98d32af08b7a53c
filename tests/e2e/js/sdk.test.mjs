// The official SDK for JavaScript, unchanged but for baseURL. Started by test_sdk_js.py with the addresses of two
// daemons; the imposter behind the second one recognises its cue in the prompt, and each failure has a provider row of
// its own, so that one row's bad health is not another's. Prints one JSON line per test: {name, ok, error, note}.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [deviceUrl, cloudUrl] = process.argv.slice(2);
const options = { apiKey: "unused", maxRetries: 0, timeout: 20_000 };
const device = new OpenAI({ baseURL: `${deviceUrl}/v1`, ...options });
const cloud = new OpenAI({ baseURL: `${cloudUrl}/v1`, ...options });
const user = (content) => [{ role: "user", content }];
const say = (client, model, content, more = {}) =>
  client.chat.completions.create({ model, messages: user(content), ...more });
const streamed = { stream: true, stream_options: { include_usage: true } };
const cheap = { max_tokens: 24, temperature: 0 };
const tool = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: {
      type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false,
    },
  },
};

const tests = [];
const test = (name, body) => tests.push({ name, body });

async function collect(stream) {
  const all = { text: "", finish: [], usage: null };
  for await (const chunk of stream) {
    all.text += chunk.choices[0]?.delta?.content ?? "";
    if (chunk.choices[0]?.finish_reason) all.finish.push(chunk.choices[0].finish_reason);
    all.usage ??= chunk.usage ?? null;
  }
  return all;
}

test("device chat", async () => {
  const answer = await say(device, "auto", "What is the capital of France?", cheap);
  assert.match(answer.choices[0].message.content, /Paris/);
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("device headers", async () => {
  const { response } = await say(device, "auto", "Hi", { max_tokens: 1 }).withResponse();
  assert.equal(response.headers.get("x-intertie-place"), "device");
});

test("device stream", async () => {
  const all = await collect(await say(device, "auto", "What is the capital of France?", { ...cheap, stream: true }));
  assert.match(all.text, /Paris/);
  assert.equal(all.finish.length, 1);
});

test("device stream usage", async () => {
  const all = await collect(await say(device, "auto", "Hi", { ...cheap, ...streamed }));
  assert.ok(all.usage.completion_tokens >= 1);
});

test("device json schema", async () => {
  const schema = {
    type: "object", properties: { n: { type: "integer" } }, required: ["n"], additionalProperties: false,
  };
  const answer = await say(device, "auto", "How many legs has a cat?", {
    max_tokens: 60, temperature: 0,
    response_format: { type: "json_schema", json_schema: { name: "legs", strict: true, schema } },
  });
  assert.ok(Number.isInteger(JSON.parse(answer.choices[0].message.content).n));
});

test("device named tool", async () => {
  const answer = await say(device, "auto", "Weather in Rome?", {
    max_tokens: 120, temperature: 0, tools: [tool],
    tool_choice: { type: "function", function: { name: "get_weather" } },
  });
  assert.equal(answer.choices[0].message.tool_calls[0].function.name, "get_weather");
  assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments)), ["city"]);
});

test("device required tool streamed", async () => {
  const runner = device.chat.completions.stream({
    model: "auto", messages: user("Weather in Rome?"), max_tokens: 120, temperature: 0, tools: [tool],
    tool_choice: "required",
  });
  const pieces = [];
  runner.on("tool_calls.function.arguments.delta", (event) => pieces.push(event.arguments_delta));
  const choice = (await runner.finalChatCompletion()).choices[0];
  assert.equal(choice.finish_reason, "tool_calls");
  assert.deepEqual(Object.keys(JSON.parse(choice.message.tool_calls[0].function.arguments)), ["city"]);
  assert.ok(pieces.length > 2, `arguments came in ${pieces.length} pieces`);
});

test("device tool loop", async () => {
  const asked = [];
  const callable = { ...tool, function: { ...tool.function, parse: JSON.parse, function: (args) => {
    asked.push(args);
    return "sunny, 18 degrees";
  } } };
  const start = { model: "auto", max_tokens: 120, temperature: 0, tools: [callable] };
  const first = device.chat.completions.runTools({ ...start, messages: user("What is the weather in Rome?"),
    tool_choice: { type: "function", function: { name: "get_weather" } } });
  await first.done();
  assert.deepEqual(asked.map((a) => Object.keys(a)), [["city"]]);
  const second = device.chat.completions.runTools({ ...start, messages: first.messages, stop: ["."], stream: true });
  assert.match(await second.finalContent(), /18|sunny/);
  assert.equal(asked.length, 1);
});

test("device abort", async () => {
  const stream = await say(device, "auto", "Tell a very long story.", { stream: true, max_tokens: 2000 });
  for await (const _ of stream) break;
  stream.controller.abort();
  const begin = Date.now();
  await say(device, "auto", "Hi", { max_tokens: 1 });
  assert.ok(Date.now() - begin < 1000, `the next answer took ${Date.now() - begin} ms`);
});

test("device models", async () => {
  const names = [];
  for await (const model of await device.models.list()) names.push(model.id);
  assert.ok(names.includes("auto"));
  assert.equal((await device.models.retrieve(names.at(-1))).id, names.at(-1));
});

test("device unknown model", async () => {
  await assert.rejects(say(device, "no-such-model", "Hi"),
    (e) => e instanceof OpenAI.NotFoundError && e.code === "model_not_found");
});

test("cloud chat", async () => {
  const answer = await say(cloud, "fakecloud/big-model", "Hi");
  assert.equal(answer.choices[0].message.content, "Hello from the cloud.");
});

test("cloud stream", async () => {
  const all = await collect(await say(cloud, "big-model", "Hi", streamed));
  const usage = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };
  assert.deepEqual(all, { text: "Hello from the cloud.", finish: ["stop"], usage });
});

test("cloud tools", async () => {
  const answer = await say(cloud, "big-model", "cue:tools", { tools: [tool] });
  assert.deepEqual(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), { city: "Paris" });
});

test("cloud tools streamed", async () => {
  const runner = cloud.chat.completions.stream({ model: "big-model", messages: user("cue:tools"), tools: [tool] });
  const final = await runner.finalChatCompletion();
  assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), { city: "Paris" });
  assert.equal(final.choices[0].finish_reason, "tool_calls");
});

test("cloud structured output", async () => {
  const answer = await say(cloud, "big-model", "cue:json", { response_format: { type: "json_object" } });
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), { ok: true });
});

for (const [status, kind] of [[400, "BadRequestError"], [404, "NotFoundError"], [429, "RateLimitError"],
  [500, "InternalServerError"], [503, "InternalServerError"]]) {
  test(`cloud error ${status}`, async () => {
    await assert.rejects(say(cloud, `fail${status}/m${status}`, `cue:error-${status}`), (e) => {
      assert.ok(e instanceof OpenAI[kind], `${e.constructor.name}: ${e.message}`);
      return typeof e.error.message === "string";
    });
  });
}

test("cloud error in the middle", async () => {
  const stream = await say(cloud, "failbroken/mbroken", "cue:broken", { stream: true });
  await assert.rejects(collect(stream), (e) => e instanceof OpenAI.APIError && /fell over/.test(e.message));
});

test("cloud cut in the middle", async () => {
  const stream = await say(cloud, "failcut/mcut", "cue:cut", { stream: true });
  await assert.rejects(collect(stream), (e) => e instanceof OpenAI.APIError);
});

test("cloud abort", async () => {
  const stream = await say(cloud, "big-model", "cue:slow", { stream: true });
  for await (const _ of stream) break;
  const at = Date.now();
  stream.controller.abort();
  return { abortedAt: at };
});

test("cloud timeout", async () => {
  await assert.rejects(
    cloud.chat.completions.create({ model: "failstall/mstall", messages: user("cue:stall") }, { timeout: 300 }),
    (e) => e instanceof OpenAI.APIConnectionTimeoutError);
});

test("cloud models", async () => {
  assert.equal((await cloud.models.retrieve("fakecloud/big-model")).id, "fakecloud/big-model");
});

for (const { name, body } of tests) {
  try {
    const note = await body();
    console.log(JSON.stringify({ name, ok: true, note: note ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ name, ok: false, error: `${error?.stack ?? error}`.slice(0, 1500) }));
  }
}
