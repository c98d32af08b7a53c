// links: wire
// Any bytes as an upstream's stream, cut anywhere: the same events as uncut, and no reader breaks on them. The first
// byte seeds the cuts.
#include <cstdint>
#include <string>
#include <vector>

#include "wire/chat.hpp"
#include "wire/sse.hpp"

namespace {
using namespace intertie;
using Strings = std::vector<std::string>;

void collect(std::string_view run, Strings& into) {
  wire::DataReader reader(run);
  while (auto data = reader.next()) into.emplace_back(*data);
}
Strings events_of(std::string_view stream, std::uint32_t seed) {
  wire::SseFramer framer;
  Strings events;
  while (!stream.empty()) {
    seed = seed * 1664525 + 1013904223;
    std::size_t size = seed >> 28 == 0 ? stream.size() : std::min<std::size_t>(stream.size(), seed >> 28);
    std::string piece(stream.substr(0, size));
    stream.remove_prefix(size);
    auto run = framer.feed(piece);
    CHECK(run);
    collect(*run, events);
  }
  collect(framer.end(), events);
  return events;
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  std::string_view stream(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  wire::SseFramer framer;
  std::string whole(stream);
  auto run = framer.feed(whole);
  CHECK(run);
  std::string all(*run);
  all += framer.end();
  Strings events;
  collect(*run, events);
  events.clear();
  collect(all, events);
  CHECK(events_of(stream, bytes[0]) == events);

  Delta delta;
  auto read = wire::read_chat_events(all, delta);
  CHECK(!read || delta.raw.size() <= all.size());
  wire::ChatAggregator aggregator;
  if (aggregator.feed(all)) {
    std::string answer = aggregator.finish("id", "model", 1, Usage{});
    answer.reserve(answer.size() + kPadding);
    Delta again;
    CHECK(wire::read_chat_answer(answer, again) && again.last);
    CHECK(wire::chat_answer_as_events(answer, true));
  }
  whole.reserve(whole.size() + kPadding);
  Delta answer;
  if (!wire::read_chat_answer(whole, answer)) (void)wire::chat_answer_as_events(whole, false);
  return 0;
}
