"""The official Python SDK, unchanged but for base_url: against the real engine on the device, and a cloud row."""
import json
import threading
import time
import typing

import openai
import pydantic
import pytest
from openai import OpenAI

import imposter
from harness import MODEL, MODEL_NAME, config, patience

TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather at a place", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}}
SEARCH = {"type": "function", "function": {"name": "search", "parameters": {
    "type": "object", "properties": {"query": {"type": "string", "maxLength": 30}}, "required": ["query"]}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "capital", "strict": True, "schema": {
    "type": "object", "properties": {"country": {"type": "string", "maxLength": 20}, "population": {"type": "integer"}},
    "required": ["country", "population"], "additionalProperties": False}}}


class City(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)


class Trip(pydantic.BaseModel):
    """Plans a trip."""
    city: City                       # its schema is a $ref into $defs
    nights: typing.Literal[1, 2]


def client(daemon, **kw) -> OpenAI:
    return OpenAI(base_url=f"{daemon.url}/v1", api_key="unused", max_retries=0, timeout=patience(20), **kw)


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


# ---------------------------------------------------------------- the real engine

def test_device_chat(local):
    answer = client(local).chat.completions.create(model="auto", messages=user("What is the capital of France?"),
                                                   max_tokens=24,
                                                   temperature=0)
    assert "Paris" in answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_device_headers_through_the_sdk(local):
    raw = client(local).chat.completions.with_raw_response.create(model="auto", messages=user("Hi"), max_tokens=2)
    assert raw.headers["x-intertie-place"] == "device"
    assert raw.parse().choices[0].message.role == "assistant"


def test_device_stream(local):
    stream = client(local).chat.completions.create(model="auto", messages=user("What is the capital of France?"),
                                                   max_tokens=24,
                                                   temperature=0, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "Paris" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage.completion_tokens >= 1


def test_device_stream_helper_accumulates(local):
    with client(local).chat.completions.stream(model="auto", messages=user("What is the capital of France?"),
                                               max_tokens=24,
                                               temperature=0) as stream:
        final = stream.get_final_completion()
    assert "Paris" in final.choices[0].message.content and final.choices[0].finish_reason in ("stop", "length")


def test_device_json_object(local):
    answer = client(local).chat.completions.create(model="auto", messages=user("Give me a JSON object about Paris."),
                                                   max_tokens=120,
                                                   temperature=0, response_format={"type": "json_object"})
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)
    else:
        assert answer.choices[0].message.content.lstrip().startswith("{")


def test_device_json_schema(local):
    answer = client(local).chat.completions.create(model="auto", messages=user("France"), max_tokens=80, temperature=0,
                                                   response_format=SCHEMA)
    document = json.loads(answer.choices[0].message.content)
    assert set(document) == {"country", "population"} and isinstance(document["population"], int)


def test_device_named_tool_is_called(local):
    """llama-server takes a named tool_choice for `auto`; the daemon makes it hold."""
    answer = client(local).chat.completions.create(model="auto", messages=user("Weather in Paris?"), max_tokens=120,
                                                   temperature=0,
                                                   tools=[TOOL],
                                                   tool_choice={"type": "function",
                                                                "function": {"name": "get_weather"}})
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and set(json.loads(call.function.arguments)) == {"city"}
    assert answer.choices[0].finish_reason == "tool_calls"


def test_device_required_tool_is_called(local):
    answer = client(local).chat.completions.create(model="auto", messages=user("Weather in Paris?"), max_tokens=120,
                                                   temperature=0,
                                                   tools=[TOOL], tool_choice="required")
    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"
    assert answer.choices[0].message.content is None and answer.choices[0].message.tool_calls[0].id.startswith("call_")
    assert local.explain()["judged"][0]["sentence"].endswith("its template knows no tools, so a grammar makes it call one")


def test_device_required_tool_is_streamed(local):
    chunks = list(client(local).chat.completions.create(model="auto", messages=user("Weather in Paris?"),
                                                        max_tokens=120, temperature=0, tools=[TOOL, SEARCH],
                                                        tool_choice="required", stream=True))
    assert not [c for c in chunks if c.choices and c.choices[0].delta.content]
    pieces = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices and c.choices[0].delta.tool_calls]
    assert {p.index for p in pieces} == {0} and len(pieces) > 2
    assert (pieces[0].type, pieces[0].id[:5]) == ("function", "call_") and not [p for p in pieces[1:] if p.id]
    name = pieces[0].function.name
    assert name in ("get_weather", "search") and not [p for p in pieces[1:] if p.function.name]
    arguments = json.loads("".join(p.function.arguments for p in pieces))
    assert set(arguments) >= ({"city"} if name == "get_weather" else {"query"})
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["tool_calls"]


def test_device_stream_helper_parses_the_call(local):
    with client(local).chat.completions.stream(
            model="auto", messages=user("Weather in Paris?"), max_tokens=120, temperature=0,
            tools=[openai.pydantic_function_tool(Trip)],
            tool_choice={"type": "function", "function": {"name": "Trip"}}) as stream:
        names = [e.name for e in stream if e.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert names == ["Trip"] and isinstance(final.choices[0].message.tool_calls[0].function.parsed_arguments, Trip)


def test_device_tool_call_that_is_cut_says_so(local):
    answer = client(local).chat.completions.create(model="auto", messages=user("Weather in Paris?"), max_tokens=22,
                                                   temperature=0, tools=[TOOL], tool_choice="required")
    assert answer.choices[0].finish_reason == "length"
    message = answer.choices[0].message
    assert message.tool_calls or message.content.startswith("{")


@pytest.mark.parametrize("streamed", [False, True])
def test_device_tool_loop(local, streamed):
    """Call, result, answer: the second turn offers the tools again and leaves the model free."""
    sdk, messages = client(local), user("What is the weather in Paris?")
    first = sdk.chat.completions.create(model="auto", messages=messages, max_tokens=120, temperature=0, tools=[TOOL],
                                        tool_choice={"type": "function", "function": {"name": "get_weather"}})
    call = first.choices[0].message.tool_calls[0]
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny, 18 degrees"}]
    with sdk.chat.completions.stream(model="auto", messages=messages, max_tokens=40, temperature=0,
                                     tools=[TOOL]) as stream:
        text = stream.get_final_completion().choices[0].message.content
    if not streamed:
        text = sdk.chat.completions.create(model="auto", messages=messages, max_tokens=40, temperature=0,
                                           tools=[TOOL]).choices[0].message.content
    assert "18" in text or "sunny" in text, text
    assert "it answers from their results" in local.explain()["judged"][0]["sentence"]
    again = sdk.chat.completions.create(model="auto", messages=messages + user("And in Rome?"), max_tokens=120,
                                        temperature=0, tools=[TOOL], tool_choice="required")
    assert again.choices[0].message.tool_calls[0].function.name == "get_weather"


TOOL_TEMPLATE = """{% if tools %}<|im_start|>system
Tools: {% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def test_device_template_with_tools_is_held_to_the_choice(make, engine, tmp_path):
    """llama-server takes a named tool_choice for `auto` and lets a required call end in text: here both are calls."""
    (tmp_path / "tools.jinja").write_text(TOOL_TEMPLATE)
    arguments = json.dumps(["--temp", "0", "--chat-template-file", str(tmp_path / "tools.jinja")])
    daemon = make(config(engine=engine, paid=False, local=f'[local.model."{MODEL_NAME}"]\narguments = {arguments}'),
                  models=[MODEL])
    assert daemon.chat("Hi", max_tokens=1).status == 200          # loaded, it has said what its template knows
    sdk = client(daemon)
    left_to_it = sdk.chat.completions.create(model="auto", messages=user("Weather in Paris?"), max_tokens=10,
                                             tools=[TOOL, SEARCH])
    assert left_to_it.choices[0].message.content
    named = {"type": "function", "function": {"name": "search"}}
    for choice in (named, "required"):
        answer = sdk.chat.completions.create(model="auto", messages=user("Weather in Paris?"), max_tokens=120,
                                             tools=[TOOL, SEARCH], tool_choice=choice)
        assert answer.choices[0].finish_reason == "tool_calls"
        assert answer.choices[0].message.tool_calls[0].function.name in ("get_weather", "search")
        if choice == named:
            assert answer.choices[0].message.tool_calls[0].function.name == "search"
    assert daemon.explain()["judged"][0]["sentence"].endswith("a grammar makes sure that it calls a tool")


def test_device_tools_left_to_the_model_are_refused(local):
    """The default model can't choose to call: it says what would work instead of ignoring the tools."""
    with pytest.raises(openai.BadRequestError) as caught:
        client(local).chat.completions.create(model="auto", messages=user("Weather in Paris?"), tools=[TOOL])
    assert caught.value.code == "missing_capability" and 'tool_choice "required"' in caught.value.message


@pytest.mark.parametrize("choice, param", [({"type": "function", "function": {"name": "no_such"}}, "tool_choice")])
def test_device_tool_choice_of_nothing_is_refused(local, choice, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client(local).chat.completions.create(model="auto", messages=user("Hi"), tools=[TOOL], tool_choice=choice)
    assert caught.value.param == param


def test_device_tools_none_gives_text(local):
    answer = client(local).chat.completions.create(model="auto", messages=user("Hi"), max_tokens=8, temperature=0,
                                                   tools=[TOOL],
                                                   tool_choice="none")
    assert not answer.choices[0].message.tool_calls and answer.choices[0].message.content


def test_device_models(local):
    sdk = client(local)
    names = [m.id for m in sdk.models.list()]
    assert "auto" in names
    chosen = next(n for n in names if n.endswith(MODEL_NAME))
    assert sdk.models.retrieve(chosen).id == chosen


def test_device_model_not_found(local):
    with pytest.raises(openai.NotFoundError) as caught:
        client(local).chat.completions.create(model="no-such-model", messages=user("Hi"))
    assert caught.value.code == "model_not_found"


def test_device_context_too_long(local):
    with pytest.raises(openai.BadRequestError) as caught:
        client(local).chat.completions.create(model=MODEL_NAME, messages=user("word " * 60_000), max_tokens=4)
    assert caught.value.code == "context_length_exceeded"


def test_device_image_is_refused_not_broken(local):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.APIStatusError) as caught:
        client(local).chat.completions.create(model=MODEL_NAME, messages=[{"role": "user", "content": [
            {"type": "text", "text": "What is this?"}, image]}])
    assert 400 <= caught.value.status_code < 500


def test_device_stop_sequence(local):
    answer = client(local).chat.completions.create(model="auto", messages=user("Count: 1 2 3 4 5 6 7 8 9"),
                                                   max_tokens=40,
                                                   temperature=0, stop=["."])
    assert "." not in (answer.choices[0].message.content or "")


def test_device_stream_close_frees_the_slot(local):
    """One slot: a second answer can only begin when the first one's slot is free again."""
    sdk = client(local)
    stream = sdk.chat.completions.create(model="auto", messages=user("Write a very long story."), max_tokens=2000,
                                         stream=True)
    next(iter(stream))
    begin = time.monotonic()
    stream.close()
    sdk.chat.completions.create(model="auto", messages=user("Hi"), max_tokens=1)
    assert time.monotonic() - begin < patience(1.0)


# ---------------------------------------------------------------- a cloud row

def test_cloud_chat(daemon, upstream):
    answer = client(daemon).chat.completions.create(model="fakecloud/big-model", messages=user("Hi"))
    assert answer.choices[0].message.content == "Hello from the cloud."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 7)
    sent = upstream.chats[0]
    assert sent.json["model"] == "big-model"
    assert sent.header("authorization") == "Bearer sk-e2e-0123456789abcdefghijklmnopqrstuvwxyz"


def test_cloud_key_of_the_client_stays_here(daemon, upstream):
    client(daemon).chat.completions.create(model="fakecloud/big-model", messages=user("Hi"))
    assert "unused" not in str(upstream.chats[0].headers)


def test_cloud_request_has_a_length(daemon, upstream):
    client(daemon).chat.completions.create(model="big-model", messages=user("Hi"))
    sent = upstream.chats[0]
    assert not sent.chunked and int(sent.header("content-length")) == len(sent.body)
    assert sent.header("host") == f"127.0.0.1:{upstream.port}" and sent.path == "/v1/chat/completions"


def test_cloud_unknown_fields_arrive_untouched(daemon, upstream):
    extra = {"x_vendor": {"deep": [1, 2.50, "ünï"]}, "big": 9007199254740993}
    client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), seed=7, extra_body=extra)
    sent = upstream.chats[0].json
    assert sent["x_vendor"] == extra["x_vendor"] and sent["big"] == 9007199254740993 and sent["seed"] == 7
    assert b"2.5" in upstream.chats[0].body


def test_cloud_stream(daemon, upstream):
    chunks = list(client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello from the cloud."
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]


def test_cloud_stream_usage(daemon, upstream):
    chunks = list(client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True,
                                                         stream_options={"include_usage": True}))
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 7)
    assert sum(1 for c in chunks if c.usage) == 1


def test_cloud_stream_usage_not_asked_is_not_shown(daemon, upstream):
    """The daemon asks upstream for the usage it bills by; the client sees it only when it asked too."""
    chunks = list(client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True))
    assert not [c for c in chunks if c.usage]
    assert upstream.chats[0].json["stream_options"]["include_usage"] is True
    receipt = daemon.explain()
    assert (receipt["completion_tokens"], receipt["tokens_measured"]) == (7, True)
    assert "7 out (measured)" in daemon.cli("explain", "last").out


def test_cloud_stream_usage_is_estimated_when_missing(daemon, upstream):
    upstream.then(imposter.text("one two three four five six", without={"usage"}))
    chunks = list(client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True,
                                                         stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens >= 3 and chunks[-1].usage.prompt_tokens >= 1
    assert daemon.explain()["tokens_measured"] is False
    assert "estimated" in daemon.cli("explain", "last").out


@pytest.mark.parametrize("forgotten", ["id", "role", "finish", "done", "usage"])
def test_cloud_stream_that_forgets(daemon, upstream, forgotten):
    upstream.then(imposter.text("put right", without={forgotten}))
    answer = daemon.chat(model="big-model", stream=True)
    events = answer.events
    assert answer.streamed_text == "put right" and events[-1] == "[DONE]" and events.count("[DONE]") == 1
    chunks = [e for e in events[:-1] if e["choices"]]
    assert all(c["id"] for c in chunks)
    assert chunks[0]["choices"][0]["delta"].get("role") == "assistant"
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"][0].get("finish_reason")] == ["stop"]


def test_cloud_streams_though_not_asked(daemon, upstream):
    upstream.then(imposter.stream(imposter.text_events("put together", "big-model", ask_usage=True)))
    answer = client(daemon).chat.completions.create(model="big-model", messages=user("Hi"))
    assert answer.choices[0].message.content == "put together" and answer.usage.completion_tokens == 7


def test_cloud_does_not_stream_though_asked(daemon, upstream):
    upstream.then(imposter.json_answer(imposter.completion("as events", "big-model")))
    chunks = list(client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "as events"


@pytest.mark.parametrize("split", [1, 2, 3, 7])
def test_cloud_stream_cut_anywhere_arrives_whole(daemon, upstream, split):
    upstream.then(imposter.text("häppy 日本 🙂 words", split=split))
    chunks = list(client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "häppy 日本 🙂 words"


def test_cloud_stream_with_crlf_bom_and_comments(daemon, upstream):
    events = b"".join(imposter.text_events("tidy text", "big-model")).replace(b"\n", b"\r\n")
    upstream.then(imposter.stream([b"\xef\xbb\xbf: hello\r\n\r\n", events]))
    chunks = list(client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "tidy text"


def test_cloud_tools(daemon, upstream):
    upstream.then(imposter.tools(("call_1", "get_weather", '{"city":"Paris"}')))
    answer = client(daemon).chat.completions.create(model="big-model", messages=user("Weather?"), tools=[TOOL])
    call = answer.choices[0].message.tool_calls[0]
    assert (call.id, call.function.name,
            json.loads(call.function.arguments)) == ("call_1", "get_weather", {"city": "Paris"})
    assert answer.choices[0].finish_reason == "tool_calls"
    assert upstream.chats[0].json["tools"] == [TOOL]


def test_cloud_parallel_tools_streamed(daemon, upstream):
    upstream.then(imposter.tools(("call_1", "get_weather", '{"city":"Paris"}'),
                                 ("call_2", "get_weather", '{"city":"São Paulo"}')))
    with client(daemon).chat.completions.stream(model="big-model", messages=user("Weather?"), tools=[TOOL]) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert [(c.id, json.loads(c.function.arguments)["city"])
            for c in calls] == [("call_1", "Paris"), ("call_2", "São Paulo")]


def test_cloud_tools_streamed_for_a_client_that_did_not(daemon, upstream):
    events = imposter.text_events("", "big-model", tool_calls=[("call_9", "get_weather", '{"city":"Rome"}')],
                                  finish="tool_calls")
    upstream.then(imposter.stream(events))
    answer = client(daemon).chat.completions.create(model="big-model", messages=user("Weather?"), tools=[TOOL])
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"city": "Rome"}


def test_cloud_tool_results_are_carried(daemon, upstream):
    history = [*user("Weather?"), {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    client(daemon).chat.completions.create(model="big-model", messages=history, tools=[TOOL])
    assert upstream.chats[0].json["messages"] == history


def test_cloud_structured_output_is_carried(daemon, upstream):
    upstream.then(imposter.text('{"country":"France","population":68}'))
    answer = client(daemon).chat.completions.create(model="big-model", messages=user("France"), response_format=SCHEMA)
    assert json.loads(answer.choices[0].message.content) == {"country": "France", "population": 68}
    assert upstream.chats[0].json["response_format"] == SCHEMA


def test_cloud_images_are_carried(daemon, upstream):
    url = "data:image/png;base64," + "iVBORw0KGgo" * 2000
    messages = [{"role": "user", "content": [{"type": "text", "text": "What?"},
                                             {"type": "image_url", "image_url": {"url": url}}]}]
    client(daemon).chat.completions.create(model="big-model", messages=messages)
    assert upstream.chats[0].json["messages"] == messages


@pytest.mark.parametrize("status, kind", [
    (400, openai.BadRequestError), (404, openai.NotFoundError), (413, openai.APIStatusError),
    (422, openai.BadRequestError),
    (429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.InternalServerError),
    (529, openai.InternalServerError)])    # overloaded: 503, as OpenAI says it; it isn't this client's rate
def test_cloud_errors_become_the_right_class(daemon, upstream, status, kind):
    upstream.then(imposter.error(status, "scripted failure"))
    with pytest.raises(kind) as caught:
        client(daemon).chat.completions.create(model="big-model", messages=user("Hi"))
    assert isinstance(caught.value.body, dict) and caught.value.body["message"]


@pytest.mark.parametrize("status", [401, 402, 403])
def test_cloud_refuses_our_key(daemon, upstream, status):
    """The client's key isn't wrong: ours is. It must hear which provider, and not be told to change its own."""
    upstream.then(imposter.error(status, "Incorrect API key provided"))
    with pytest.raises(openai.APIStatusError) as caught:
        client(daemon).chat.completions.create(model="big-model", messages=user("Hi"))
    assert "fakecloud" in caught.value.message and caught.value.status_code >= 400


def test_cloud_client_error_is_relayed_word_for_word(daemon, upstream):
    upstream.then(imposter.error(400, "Unsupported parameter: 'wibble'", code="unsupported_parameter", param="wibble"))
    with pytest.raises(openai.BadRequestError) as caught:
        client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), extra_body={"wibble": 1})
    assert caught.value.param == "wibble" and caught.value.code == "unsupported_parameter"
    assert "Unsupported parameter: 'wibble'" in caught.value.message


def test_cloud_retry_after_is_passed_on(daemon, upstream):
    upstream.then(imposter.error(429, "slow down", code="rate_limit_exceeded", headers={"Retry-After": "17"}))
    with pytest.raises(openai.RateLimitError) as caught:
        client(daemon).chat.completions.create(model="big-model", messages=user("Hi"))
    assert caught.value.response.headers["retry-after"] == "17"


def test_cloud_error_in_the_middle_raises(daemon, upstream):
    events = imposter.text_events("half an answer", "big-model")[:3]
    failure = imposter.event({"error": {"message": "engine fell over", "type": "server_error", "code": None,
                                        "param": None}})
    upstream.then(imposter.stream([*events, failure], pace=0.05))
    got = []
    with pytest.raises(openai.APIError, match="engine fell over"):
        for one in client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True):
            got.append(one.choices[0].delta.content or "")
    assert "".join(got) == "half an"


def test_cloud_close_stops_upstream(daemon, upstream):
    upstream.then(imposter.text("word " * 500, pace=0.02))
    stream = client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), stream=True)
    next(iter(stream))
    begin = time.monotonic()
    stream.close()
    assert upstream.chats[0].ended.wait(patience(2)), "upstream went on"
    assert upstream.chats[0].gone_at - begin < patience(0.3)


def test_cloud_close_before_the_first_token_stops_upstream(daemon, upstream):
    upstream.then(lambda wire, _: wire.stall())
    sdk = client(daemon)
    done = threading.Event()

    def ask() -> None:
        with pytest.raises(openai.APIConnectionError):
            sdk.with_options(timeout=patience(0.5)).chat.completions.create(model="big-model", messages=user("Hi"))
        done.set()
    thread = threading.Thread(target=ask)
    thread.start()
    request = upstream.wait_chats(1)[0]
    assert done.wait(patience(3))
    end = time.monotonic()
    assert request.ended.wait(patience(2)), "upstream went on"
    assert request.gone_at - end < patience(0.3)
    thread.join()


def test_sdk_timeout_is_a_timeout(daemon, upstream):
    upstream.then(lambda wire, _: wire.stall())
    with pytest.raises(openai.APITimeoutError):
        client(daemon).with_options(timeout=0.3).chat.completions.create(model="big-model", messages=user("Hi"))


def test_cloud_models(daemon):
    sdk = client(daemon)
    names = [m.id for m in sdk.models.list()]
    assert "auto" in names and "fakecloud/big-model" in names
    assert sdk.models.retrieve("fakecloud/big-model").id == "fakecloud/big-model"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("nope")


def test_cloud_logprobs_and_choices_are_carried(daemon, upstream):
    document = imposter.completion("a", "big-model")
    document["choices"].append({**document["choices"][0], "index": 1})
    document["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -0.5, "bytes": [97],
                                                       "top_logprobs": []}], "refusal": None}
    upstream.then(imposter.json_answer(document))
    answer = client(daemon).chat.completions.create(model="big-model", messages=user("Hi"), n=2, logprobs=True)
    assert len(answer.choices) == 2 and answer.choices[0].logprobs.content[0].logprob == -0.5


def test_async_client_many_at_once(daemon, upstream):
    import asyncio

    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{daemon.url}/v1", api_key="x", max_retries=0) as sdk:
            answers = await asyncio.gather(*[sdk.chat.completions.create(model="big-model", messages=user(f"n{i}"))
                                             for i in range(40)])
            return [a.choices[0].message.content for a in answers]
    assert asyncio.run(ask()) == ["Hello from the cloud."] * 40
    assert len(upstream.chats) == 40
