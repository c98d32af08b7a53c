#include "wire/chat.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

namespace intertie::wire {
namespace {
// A body with padding of the worst kind behind it: bytes that would go on with the document.
class Body {
 public:
  explicit Body(std::string_view text, char behind = ' ')
      : size_(text.size()), bytes_(new char[text.size() + kPadding]) {
    std::memcpy(bytes_.get(), text.data(), size_);
    std::memset(bytes_.get() + size_, behind, kPadding);
  }
  std::string_view view() const { return {bytes_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<char[]> bytes_;
};
constexpr std::string_view kAsk =
    R"({"model":"m","n":1,"messages":[{"role":"user","content":[{"type":"text","text":"a\n"}]}],"x":[[1]]})";

TEST(ReadAsk, EveryCutIsRefusedWhateverComesBehind) {
  ASSERT_TRUE(read_chat_ask(Body(kAsk).view()));
  for (std::size_t size = 0; size < kAsk.size(); ++size)
    for (char behind : {' ', '}', ']', ',', ':', '"', '{', '[', '1', '\0', '\\', '\xFF'})
      ASSERT_FALSE(read_chat_ask(Body(kAsk.substr(0, size), behind).view())) << size << " " << behind;
  for (char behind : {'}', ']', ',', ':', '"', '{', '1', '\0', '\xFF'})
    ASSERT_TRUE(read_chat_ask(Body(kAsk, behind).view())) << behind;
}

TEST(ReadAsk, EveryChangedByteIsReadOrRefused) {
  for (std::size_t at = 0; at < kAsk.size(); ++at)
    for (int byte = 0; byte < 256; ++byte) {
      std::string text(kAsk);
      text[at] = static_cast<char>(byte);
      Body body(text);
      auto ask = read_chat_ask(body.view());
      if (!ask) continue;
      for (const auto& span : ask->texts) {
        ASSERT_LE(span.end, text.size());
        ASSERT_EQ(text[span.begin - 1], '"');
        ASSERT_EQ(text[span.end], '"');
      }
    }
}

TEST(ReadAsk, SpansStandInTheBody) {
  Body body(R"({"model":"gpt-4o", "messages":[{"role":"user","content":"one"},{"role":"system","content":"t\twо"}]})");
  auto ask = read_chat_ask(body.view());
  ASSERT_TRUE(ask) << ask.error().message;
  EXPECT_EQ(ask->at(ask->model_value), "\"gpt-4o\"");
  ASSERT_EQ(ask->texts.size(), 2U);
  EXPECT_EQ(ask->at(ask->texts[0]), "one");
  EXPECT_FALSE(ask->texts[0].escaped);
  EXPECT_EQ(ask->at(ask->texts[1]), "t\\twо");
  EXPECT_TRUE(ask->texts[1].escaped);
  EXPECT_EQ(ask->text_bytes, 3U + 6U);
}

TEST(ReadAsk, LargeBodiesDontKeepTheirMemoryAndWork) {
  std::string big = R"({"model":"m","messages":[{"role":"user","content":")" + std::string(20U << 20, 'a') + R"("}]})";
  EXPECT_EQ(read_chat_ask(Body(big).view())->text_bytes, 20U << 20);
  EXPECT_TRUE(read_chat_ask(Body(kAsk).view()));
}

TEST(ReadAsk, ManyStringsAreBounded) {
  std::string many = R"({"model":"m","messages":[{"role":"user","content":"a"}],"x":[")";
  for (int i = 0; i < 1'000'001; ++i) many += "\",\"a";
  many += "\"]}";
  auto ask = read_chat_ask(Body(many).view());
  ASSERT_FALSE(ask);
  EXPECT_EQ(ask.error().code, "too_many_strings");
}

TEST(Splice, ChangesOnlyWhatItIsTold) {
  std::string_view body = "0123456789";
  auto join = [&](const std::vector<Edit>& edits) {
    std::string out;
    for (auto piece : splice(body, edits)) out += piece;
    return out;
  };
  EXPECT_EQ(join({}), body);
  EXPECT_EQ(splice(body, {})[0].data(), body.data());
  EXPECT_EQ(join({{0, 1, "a"}, {1, 1, "b"}, {4, 6, ""}, {10, 10, "c"}}),
            "ab12367"
            "89c");
}

TEST(ReadChatEvents, TellsKeysFromWhatLooksLikeThem) {
  auto pieces_of = [](std::string_view choice) {
    std::string event = "data: {\"choices\":[" + std::string(choice) + "]}\n\n";
    Delta delta;
    EXPECT_TRUE(read_chat_events(event, delta)) << choice;
    return std::pair(delta.pieces, delta.finished);
  };
  using Pair = std::pair<std::uint32_t, bool>;
  EXPECT_EQ(pieces_of(R"({"delta":{"content":"a"}})"), Pair(1, false));
  EXPECT_EQ(pieces_of(R"({"delta" : { "content" : "a"}})"), Pair(1, false));
  EXPECT_EQ(pieces_of(R"({"delta":{"content":""},"finish_reason":null})"), Pair(0, false));
  EXPECT_EQ(pieces_of(R"({"delta":{"content":null},"finish_reason":"stop"})"), Pair(0, true));
  EXPECT_EQ(pieces_of(R"({"delta":{"tool_calls":[{"function":{"arguments":"{\"a"}}]}})"), Pair(1, false));
  EXPECT_EQ(pieces_of(R"({"delta":{"role":"say \"finish_reason\":\"stop\" and \"usage\":{}"}})"), Pair(0, false));
  EXPECT_EQ(pieces_of(R"({"delta":{"role":"ends in backslashes \\\\"},"finish_reason":"length"})"), Pair(0, true));
  EXPECT_EQ(pieces_of(R"({"delta":{"role":"escaped quote \\\""},"finish_reason":"length"})"), Pair(0, true));
  EXPECT_EQ(pieces_of(R"({"delta":{"":"","reasoning_content":"hm"}})"), Pair(1, false));
  Delta delta;
  ASSERT_TRUE(read_chat_events("data: {\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":7}}}\n\n", delta));
  EXPECT_EQ(delta.usage.value_or(Usage{}).prompt_tokens, 7U);
}

TEST(ChatAggregator, RoundTripsWithEvents) {
  Body body(
      R"({"id":"c","object":"chat.completion","created":5,"model":"m","choices":[{"index":0,"message":{"role":"assistant",)"
      R"("content":"Hi \"you\" ä","refusal":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},)"
      R"("logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}})");
  auto events = chat_answer_as_events(body.view(), true);
  ASSERT_TRUE(events);
  ChatAggregator aggregator;
  ASSERT_TRUE(aggregator.feed(*events));
  auto again = aggregator.finish("x", "x", 1, {.prompt_tokens = 1, .completion_tokens = 2, .measured = true});
  EXPECT_NE(
      again.find(
          R"("content":"Hi \"you\" ä","refusal":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}])"),
      std::string::npos)
      << again;
  Delta delta;
  ASSERT_TRUE(read_chat_events(*events, delta));
  EXPECT_TRUE(delta.last && delta.finished && delta.usage);
}

TEST(ChatAggregator, IsBounded) {
  ChatAggregator aggregator;
  std::string event =
      R"(data: {"choices":[{"index":0,"delta":{"content":")" + std::string(1U << 20, 'a') + "\"}}]}\n\n";
  Result<> fed;
  for (int i = 0; i < 80 && fed; ++i) fed = aggregator.feed(event);
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code, "answer_too_large");
}

TEST(Render, ModelsAndUsage) {
  EXPECT_EQ(render_model({"a\"b", "local", 7}), R"({"id":"a\"b","object":"model","created":7,"owned_by":"local"})");
  EXPECT_EQ(render_model_list({}), R"({"object":"list","data":[]})");
  EXPECT_EQ(
      render_model_list({{"a", "o", 1}, {"b", "o", 2}}),
      R"({"object":"list","data":[{"id":"a","object":"model","created":1,"owned_by":"o"},{"id":"b","object":"model","created":2,"owned_by":"o"}]})");
  EXPECT_EQ(render_chat_usage_event(
                "c", "m", 5, {.prompt_tokens = 4'000'000'000, .completion_tokens = 4'000'000'000, .cached_tokens = 1}),
            "data: "
            "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\",\"choices\":[],\"usage\":"
            "{\"prompt_tokens\":4000000000,"
            "\"completion_tokens\":4000000000,\"total_tokens\":8000000000,\"prompt_tokens_details\":{\"cached_tokens\":"
            "1}}}\n\n");
}
} // namespace
} // namespace intertie::wire
