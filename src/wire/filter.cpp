#include "wire/filter.hpp"

namespace intertie::wire {
namespace {
// A key with its bare quotes can't stand inside a JSON string (there the quotes would be escaped), so finding these bytes
// means finding the member.
constexpr std::string_view kProgress = "\"prompt_progress\":";
constexpr std::string_view kNoChoices = "\"choices\":[]";
constexpr std::string_view kUsage = "\"usage\":";

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// Length of the first event, its blank line included.
std::size_t event_length(std::string_view events) {
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    if (events[i] == '\n' && events[i + 1] == '\n') return i + 2;
    if (events[i] == '\r' && events[i + 1] == '\r') return i + 2;
    if (events[i] == '\n' && events[i + 1] == '\r' && i + 2 < events.size() && events[i + 2] == '\n') return i + 3;
  }
  return events.size();
}
} // namespace

std::string_view client_events(std::string_view events, bool drop_usage, std::string& kept) {
  bool progress = has(events, kProgress);
  bool usage = drop_usage && has(events, kNoChoices) && has(events, kUsage);
  if (!progress && !usage) return events;
  kept.clear();
  while (!events.empty()) {
    auto event = events.substr(0, event_length(events));
    events.remove_prefix(event.size());
    if (has(event, kProgress) || (usage && has(event, kNoChoices) && has(event, kUsage))) continue;
    kept += event;
  }
  return kept;
}

} // namespace intertie::wire
