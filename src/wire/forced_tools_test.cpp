#include "wire/forced_tools.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "core/ask.hpp"
#include "wire/chat.hpp"

namespace intertie::wire {
namespace {
struct Heard {
  std::string name, arguments, text;
  int begun = 0;
  bool complete = false;
  bool operator==(const Heard&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Heard& h) {
  return out << h.name << "(" << h.arguments << ") begun " << h.begun << (h.complete ? " complete" : "") << " text <"
             << h.text << ">";
}

Heard hear(const std::vector<std::string_view>& pieces) {
  CallReader reader({"now", "get_weather", "grüße \"😀\""});
  Heard heard;
  auto take = [&](CallReader::Piece piece) {
    // Whoever streams this says the name before the first argument.
    EXPECT_TRUE(piece.arguments.empty() || piece.begins || heard.begun == 1);
    heard.begun += piece.begins ? 1 : 0;
    heard.arguments += piece.arguments;
    heard.text += piece.text;
  };
  for (auto piece : pieces) take(reader.read(piece));
  take(reader.end());
  if (heard.begun > 0) heard.name = reader.name();
  heard.complete = reader.complete();
  return heard;
}

struct CallCase {
  std::string_view said;
  Heard heard;
};
const std::vector<CallCase>& cases() {
  static const std::vector<CallCase> kCases{
      {R"({"name":"now","arguments":{}})", {"now", "{}", "", 1, true}},
      {" {\n  \"name\"\n\n: \"now\" , \"arguments\" :\t{ \"a\" : [ 1 , true ] }\r\n}\n ",
       {"now", R"({"a":[1,true]})", "", 1, true}},
      {R"({"name":"get_weather","arguments":{"city":"P\"}] \\","d":"\ud83d\ude00 é"}})",
       {"get_weather", R"({"city":"P\"}] \\","d":"\ud83d\ude00 é"})", "", 1, true}},
      {R"({"name":"gr\u00fc\u00dfe \"\ud83d\ude00\"","arguments":{}})", {"grüße \"😀\"", "{}", "", 1, true}},
      {R"({"name":"now","arguments":"text"})", {"now", "\"text\"", "", 1, true}},
      {R"({"name":"now","arguments": -1.5 })", {"now", "-1.5", "", 1, true}},
      // Cut: what came of a call stays a call, what came of its head is text.
      {R"({"name":"now","arguments":{"a":"b)", {"now", R"({"a":"b)", "", 1, false}},
      {R"({"name":"now","arguments":{"a":1})", {"now", R"({"a":1})", "", 1, false}},
      {R"({"name":"now","arguments":)", {"now", "", "", 1, false}},
      {R"({"name":"now","argu)", {"", "", R"({"name":"now","argu)", 0, false}},
      {" {", {"", "", " {", 0, false}},
      {"", {"", "", "", 0, false}},
      // Anything else is text, to the byte.
      {"Hello.", {"", "", "Hello.", 0, false}},
      {R"({"name":"then","arguments":{}})", {"", "", R"({"name":"then","arguments":{}})", 0, false}},
      {R"({"name":7,"arguments":{}})", {"", "", R"({"name":7,"arguments":{}})", 0, false}},
      {R"({"arguments":{},"name":"now"})", {"", "", R"({"arguments":{},"name":"now"})", 0, false}},
      {R"({"name" "now"})", {"", "", R"({"name" "now"})", 0, false}},
      {R"([{"name":"now","arguments":{}}])", {"", "", R"([{"name":"now","arguments":{}}])", 0, false}},
      {R"({"name":"now","arguments":{}} and more)", {"now", "{}", " and more", 1, true}},
      {R"({"name":"now","arguments":{} ,"b":2})", {"now", "{}", R"( ,"b":2})", 1, false}},
  };
  return kCases;
}

TEST(CallReader, tells_a_call_from_text) {
  for (const auto& [said, heard] : cases()) EXPECT_EQ(hear({said}), heard) << said;
}

TEST(CallReader, hears_the_same_wherever_the_text_is_cut) {
  for (const auto& [said, heard] : cases()) {
    std::vector<std::string_view> bytes;
    for (std::size_t i = 0; i < said.size(); ++i) {
      EXPECT_EQ(hear({said.substr(0, i), said.substr(i)}), heard) << said << " cut at " << i;
      bytes.push_back(said.substr(i, 1));
    }
    EXPECT_EQ(hear(bytes), heard) << said << " byte by byte";
  }
}

TEST(CallReader, gives_arguments_out_as_they_come) {
  CallReader reader({"now"});
  EXPECT_TRUE(reader.read(R"({"name":"now","arguments":)").begins);
  EXPECT_EQ(reader.read(R"({"a":"lon)").arguments, R"({"a":"lon)");
  EXPECT_EQ(reader.read("g").arguments, "g");
}

TEST(CallReader, holds_back_no_more_than_a_few_kilobytes) {
  for (const auto& head : {std::string(20'000, ' '), R"({"name":")" + std::string(20'000, 'n')}) {
    CallReader reader({"now"});
    EXPECT_EQ(reader.read(head).text, head);
    EXPECT_EQ(reader.read("more").text, "more");
  }
  CallReader reader({"now"});
  std::string blanks(20'000, ' ');
  EXPECT_EQ(reader.read(R"({"name":"now","arguments":{}})" + blanks).text, blanks) << "blanks behind it, too";
}

// An answer that is made of several choices, odd or empty events is relayed, never broken.
TEST(CallEvents, relays_what_is_no_text) {
  CallEvents events("call_1", {"now"});
  for (std::string_view odd :
       {"data: {\"choices\":[]}\n\n", "data: {\"choices\":[7]}\n\n", "data: {\"id\":\"x\"}\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n", "data: [DONE]\n\n"}) {
    auto out = events.rewrite(odd);
    ASSERT_TRUE(out) << odd;
    EXPECT_EQ(*out, odd);
  }
  EXPECT_FALSE(events.rewrite("data: nonsense\n\n"));
}

TEST(CallEvents, make_a_whole_answer_with_content_null) {
  CallEvents events("call_1", {"now"});
  ChatAggregator aggregator;
  for (
      std::string_view event :
      {R"(data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]})",
       R"(data: {"choices":[{"index":0,"delta":{"content":"{\"name\":\"now\",\"arguments\":{\"a\""},"finish_reason":null}]})",
       R"(data: {"choices":[{"index":0,"delta":{"content":":1}}"},"finish_reason":null}]})",
       R"(data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})"}) {
    auto out = events.rewrite(std::string(event) + "\n\n");
    ASSERT_TRUE(out);
    ASSERT_TRUE(aggregator.feed(*out));
  }
  auto answer = aggregator.finish("i", "m", 1, {});
  EXPECT_NE(answer.find(R"("content":null,"refusal":null,"tool_calls":[{"id":"call_1","type":"function","function":)"
                        R"({"name":"now","arguments":"{\"a\":1}"}}])"),
            std::string::npos)
      << answer;
  EXPECT_NE(answer.find(R"("finish_reason":"tool_calls")"), std::string::npos) << answer;
}

// 20,000 messages, half of them results that name one of very many calls: linear, and what is sent stays valid.
TEST(ToolsAsText, stays_quick_with_very_many_calls_and_results) {
  std::string calls, results;
  for (int i = 0; i < 50'000; ++i)
    calls += std::string(i > 0 ? "," : "") + R"({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}})";
  for (int i = 0; i < 19'000; ++i) results += R"(,{"role":"tool","tool_call_id":"nobody","content":"x"})";
  std::string body = R"({"model":"m","messages":[{"role":"assistant","tool_calls":[)" + calls + "]}" + results + "]}";
  body.reserve(body.size() + kPadding);
  auto ask = read_chat_ask(body);
  ASSERT_TRUE(ask);
  BodyEdits edits(ask->body);
  tools_as_text(edits);
  std::string sent;
  auto changes = edits.edits();
  for (auto piece : splice(body, changes)) sent += piece;
  sent.reserve(sent.size() + kPadding);
  auto again = read_chat_ask(sent);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->messages, 2U);
  EXPECT_FALSE(again->tool_history);
}
} // namespace
} // namespace intertie::wire
