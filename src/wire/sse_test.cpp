#include "wire/sse.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "wire/chat.hpp"

namespace intertie::wire {
namespace {
using Strings = std::vector<std::string>;

void collect(std::string_view run, Strings& into) {
  DataReader reader(run);
  while (auto data = reader.next()) into.emplace_back(*data);
}
// The events of a stream that arrives in the given pieces.
Strings events_of(const Strings& pieces) {
  SseFramer framer;
  Strings events;
  for (const auto& piece : pieces) {
    std::string own(piece); // so that a view kept too long is seen by asan
    auto run = framer.feed(own);
    if (!run) return {"FAILED"};
    collect(*run, events);
  }
  collect(framer.end(), events);
  return events;
}

struct Recorded {
  std::string_view name, bytes;
  Strings events;
};
const std::vector<Recorded> kStreams{
    {"lf", "data: {\"a\":1}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n", {"{\"a\":1}", "{\"b\":2}", "[DONE]"}},
    {"crlf",
     "data: {\"a\":1}\r\n\r\ndata: {\"b\":2}\r\n\r\ndata: [DONE]\r\n\r\n",
     {"{\"a\":1}", "{\"b\":2}", "[DONE]"}},
    {"cr", "data: {\"a\":1}\r\rdata: {\"b\":2}\r\rdata: [DONE]\r\r", {"{\"a\":1}", "{\"b\":2}", "[DONE]"}},
    {"mixed", "data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\rdata: e\n\n", {"a", "b", "c", "d", "e"}},
    {"mark",
     "\xEF\xBB\xBF"
     "data: a\n\ndata: b\n\n",
     {"a", "b"}},
    {"half a mark",
     "\xEF\xBB"
     "data: a\n\ndata: b\n\n",
     {"b"}},
    {"comments", ": hi\n\n: there\ndata: a\n: more\n\n:\n\ndata: b\n\n", {"a", "b"}},
    {"several lines", "data: a\ndata: b\ndata:  c\n\ndata: d\n\n", {"a\nb\n c", "d"}},
    {"other fields",
     "event: message\nid: 7\nretry: 10\ndata: a\n\nevent: x\n\ndatax: no\ndata:b\n\ndata\n\n",
     {"a", "b"}},
    {"utf-8", "data: \xC3\xA4\xF0\x9F\x98\x80\n\ndata: \xE2\x82\xAC\n\n", {"\xC3\xA4\xF0\x9F\x98\x80", "\xE2\x82\xAC"}},
    {"no last blank line", "data: {\"a\":1}\n\ndata: {\"b\":2}\n", {"{\"a\":1}", "{\"b\":2}"}},
    {"no last line end", "data: {\"a\":1}\n\ndata: {\"b\":[2]}", {"{\"a\":1}", "{\"b\":[2]}"}},
    {"no line end behind done", "data: {\"a\":1}\r\n\r\ndata: [DONE]", {"{\"a\":1}", "[DONE]"}},
    {"cut in the last event", "data: {\"a\":1}\n\ndata: {\"b\":{\"c\":2}", {"{\"a\":1}"}},
    {"done twice", "data: a\n\ndata: [DONE]\n\ndata: [DONE]\n\n", {"a", "[DONE]", "[DONE]"}},
    {"blank lines first", "\n\r\n\rdata: a\n\n\n\ndata: b\n\n", {"a", "b"}},
    {"empty", "", {}},
    {"only blanks", "\r\n\r\n\r", {}},
};

TEST(SseFramer, AnySplitGivesTheSameEvents) {
  for (const auto& stream : kStreams) {
    SCOPED_TRACE(stream.name);
    EXPECT_EQ(events_of({std::string(stream.bytes)}), stream.events);
    Strings bytes;
    for (char c : stream.bytes) bytes.emplace_back(1, c);
    EXPECT_EQ(events_of(bytes), stream.events) << "byte by byte";
    for (std::size_t i = 0; i <= stream.bytes.size(); ++i) {
      for (std::size_t j = i; j <= stream.bytes.size(); ++j) {
        auto at = [&](std::size_t from, std::size_t to) { return std::string(stream.bytes.substr(from, to - from)); };
        ASSERT_EQ(events_of({at(0, i), at(i, j), at(j, stream.bytes.size())}), stream.events)
            << "cut at " << i << " and " << j;
      }
    }
  }
}

TEST(SseFramer, WholeEventsAreNotCopied) {
  SseFramer framer;
  std::string bytes = "data: a\n\ndata: b\n\n";
  auto run = framer.feed(bytes);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->data(), bytes.data());
  EXPECT_EQ(run->size(), bytes.size());
  EXPECT_FALSE(framer.mid_event());
}

TEST(SseFramer, KnowsWhenAnEventIsCut) {
  SseFramer framer;
  EXPECT_EQ(*framer.feed("data: a\n\ndata: b"), "data: a\n\n");
  EXPECT_TRUE(framer.mid_event());
  EXPECT_EQ(*framer.feed("c\n\n"), "data: bc\n\n");
  EXPECT_FALSE(framer.mid_event());
}

TEST(SseFramer, OneEventIsBounded) {
  SseFramer framer(64);
  EXPECT_TRUE(framer.feed("data: " + std::string(50, 'x')));
  auto more = framer.feed(std::string(20, 'x'));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().kind, FailureKind::UpstreamBroken);
  SseFramer fresh(64);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(fresh.feed("data: many small ones\n\n"));
}

TEST(DataReader, IsLinearWithoutLineFeeds) {
  std::string bytes(4U << 20, '\r');
  DataReader reader(bytes);
  EXPECT_EQ(reader.next(), std::nullopt);
}

TEST(DataReader, KnowsWhatFollows) {
  DataReader reader("data: a\n\ndata: b\n\n");
  EXPECT_EQ(reader.next(), "a");
  EXPECT_EQ(reader.rest(), "data: b\n\n");
}

// The facts read from a stream don't depend on its cuts either.
TEST(ChatEvents, AnySplitGivesTheSameFacts) {
  const std::string stream =
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"usage\\\":{\"},\"finish_reason\":null}]}\r\n\r\n"
      ": ping\r\n\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\ndata: "
      "[DONE]\n\n";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    SseFramer framer;
    Delta delta;
    std::string raw;
    for (auto piece : {stream.substr(0, cut), stream.substr(cut)}) {
      auto run = framer.feed(piece);
      ASSERT_TRUE(run);
      if (delta.last || run->empty()) continue;
      ASSERT_TRUE(read_chat_events(*run, delta));
      raw += delta.raw;
    }
    ASSERT_TRUE(delta.last && delta.finished && delta.usage) << cut;
    EXPECT_EQ(delta.pieces, 1U);
    EXPECT_EQ(delta.usage->completion_tokens, 4U);
    EXPECT_TRUE(raw.ends_with("[DONE]\n\n")) << cut;
    EXPECT_EQ(raw.find("[DONE]"), raw.rfind("[DONE]")) << cut;
  }
}
} // namespace
} // namespace intertie::wire
