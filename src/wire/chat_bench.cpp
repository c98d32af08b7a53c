#include <benchmark/benchmark.h>

#include <string>

#include <fmt/format.h>

#include "wire/chat.hpp"
#include "wire/sse.hpp"

namespace intertie::wire {
namespace {
std::string with_padding(std::string text) {
  text.reserve(text.size() + kPadding);
  return text;
}
// A first turn of about `size` bytes: system prompt, three turns, some sampling.
std::string request(std::size_t size) {
  std::string text;
  while (text.size() + 400 < size) text += "Explain why the sky is blue, in plain words, please.\\n";
  return with_padding(
      R"({"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"temperature":0.7,)"
      R"("max_tokens":512,"messages":[{"role":"system","content":"You are a helpful assistant."},)"
      R"({"role":"user","content":"Hello"},{"role":"assistant","content":"Hello! How can I help?"},)"
      R"({"role":"user","content":")" +
      text + R"("}],"user":"someone","n":1})");
}
void ReadAsk(benchmark::State& state) {
  auto body = request(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(read_chat_ask(body));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size()));
}
BENCHMARK(ReadAsk)->Arg(2250)->Arg(64 << 10)->Arg(1 << 20);

const std::string kChunk =
    R"(data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,)"
    R"("model":"gpt-4.1-2025-04-14","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":" tok"},)"
    R"("logprobs":null,"finish_reason":null}],"usage":null})"
    "\n\n";
void ReadTextChunk(benchmark::State& state) {
  for (auto _ : state) {
    Delta delta;
    benchmark::DoNotOptimize(read_chat_events(kChunk, delta));
  }
}
BENCHMARK(ReadTextChunk);
void ReadUsageChunk(benchmark::State& state) {
  std::string chunk =
      R"(data: {"id":"chatcmpl-B9MBs8","object":"chat.completion.chunk","created":1741569952,"model":"m","choices":[],)"
      R"("usage":{"prompt_tokens":419,"completion_tokens":170,"total_tokens":589}})"
      "\n\n";
  for (auto _ : state) {
    Delta delta;
    benchmark::DoNotOptimize(read_chat_events(chunk, delta));
  }
}
BENCHMARK(ReadUsageChunk);
void Frame(benchmark::State& state) {
  SseFramer framer;
  for (auto _ : state) benchmark::DoNotOptimize(framer.feed(kChunk));
}
BENCHMARK(Frame);
void ReadAnswer(benchmark::State& state) {
  auto body = with_padding(
      R"({"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":"m","choices":[{"index":0,)"
      R"("message":{"role":"assistant","content":")" +
      std::string(700, 'x') +
      R"("},"finish_reason":"stop"}],)"
      R"("usage":{"prompt_tokens":419,"completion_tokens":170,"total_tokens":589}})");
  for (auto _ : state) {
    Delta delta;
    benchmark::DoNotOptimize(read_chat_answer(body, delta));
  }
}
BENCHMARK(ReadAnswer);
} // namespace
} // namespace intertie::wire
