#include <algorithm>

#include "core/text.hpp"
#include "wire/answer.hpp"
#include "wire/chat.hpp"
#include "wire/markers.hpp"
#include "wire/sse.hpp"

namespace intertie::wire {
namespace {
// Something to parse for? Plain text chunks end here, after a few memmem.
bool marked(std::string_view json) {
  return has_value(json, "\"finish_reason\"") || has_value(json, "\"usage\"") || has_value(json, "\"error\"") ||
         has_value(json, "\"timings\"") || has_value(json, "\"prompt_progress\"");
}

// Text for the client, for the estimate when no usage comes; good enough without a parse.
bool has_text(std::string_view json) {
  for (std::string_view key :
       {"\"content\"", "\"reasoning_content\"", "\"arguments\"", "\"reasoning\"", "\"refusal\""}) {
    auto value = after_key(json, key);
    if (value.starts_with('"') && !value.starts_with("\"\"")) return true;
  }
  return false;
}

bool finish_in(dom::object event) {
  dom::array choices;
  if (event["choices"].get(choices) != simdjson::SUCCESS) return false;
  return std::ranges::any_of(choices, [](dom::element choice) {
    std::string_view reason;
    return choice["finish_reason"].get(reason) == simdjson::SUCCESS;
  });
}

// Reads one event; `progress` tells whether it only says that the upstream works.
Result<> read_event(std::string_view json, Delta& delta, bool& progress) {
  progress = false;
  if (!json.starts_with('{') || text::trim(json).back() != '}')
    return broken_answer("the provider sent a stream event that is not a JSON object");
  bool text = has_text(json);
  if (text) ++delta.pieces;
  if (!marked(json)) return {};
  TRY(auto event, parse_object(json));
  if (auto failure = error_in(event, json)) return std::unexpected(std::move(*failure));
  read_facts(event, delta);
  bool finished = finish_in(event);
  delta.finished = delta.finished || finished;
  dom::object reading;
  progress = !text && !finished && event["prompt_progress"].get(reading) == simdjson::SUCCESS;
  release_answer_parser(json.size());
  return {};
}
} // namespace

Result<> read_chat_events(std::string_view events, Delta& delta) {
  delta.raw = events;
  delta.dialect = DialectId::OpenAiChat;
  bool only_progress = true;
  DataReader reader(events);
  while (auto data = reader.next()) {
    auto json = text::trim(*data);
    if (json.empty()) continue;
    if (json == "[DONE]") {
      delta.last = true;
      only_progress = false;
      delta.raw = events.substr(0, events.size() - reader.rest().size()); // nothing may follow, not even a second one
      break;
    }
    bool progress = false;
    TRY_VOID(read_event(json, delta, progress));
    only_progress = only_progress && progress;
  }
  delta.shape = only_progress ? DeltaShape::Progress : DeltaShape::Events;
  return {};
}

Result<> read_chat_answer(std::string_view body, Delta& delta) {
  TRY(auto answer, parse_object(body, Padding::Yes));
  if (auto failure = error_in(answer, body)) return std::unexpected(std::move(*failure));
  dom::array choices;
  if (answer["choices"].get(choices) != simdjson::SUCCESS)
    return broken_answer("the provider answered with JSON that is not a chat completion: it has no choices");
  std::size_t bytes = 0;
  for (dom::element choice : choices) {
    dom::object message;
    if (choice["message"].get(message) != simdjson::SUCCESS)
      return broken_answer("the provider answered with a chat completion whose choice has no message");
    bytes += text_of(message, "content").size() + text_of(message, "reasoning_content").size();
  }
  read_facts(answer, delta);
  delta.shape = DeltaShape::Whole;
  delta.raw = body;
  delta.dialect = DialectId::OpenAiChat;
  delta.pieces += static_cast<std::uint32_t>((bytes + 3) / 4); // about four bytes a token
  delta.finished = finish_in(answer);
  delta.last = true;
  release_answer_parser(body.size());
  return {};
}
} // namespace intertie::wire
