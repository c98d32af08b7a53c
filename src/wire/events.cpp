#include <algorithm>

#include "core/text.hpp"
#include "wire/answer.hpp"
#include "wire/chat.hpp"
#include "wire/sse.hpp"

namespace intertie::wire {
namespace {
// What an event is worth reading for, without a parse.
struct Marks {
  bool facts = false; // a finish_reason, usage, an error, timings, progress: to be parsed for
  bool text = false;  // text for the client: counted for the estimate when no usage comes
};
void mark(std::string_view key, std::string_view value, Marks& marks) {
  bool text = value.front() == '"' && !value.starts_with("\"\"");
  bool given = !value.starts_with("null");
  switch (key.size()) {
    case 5: marks.facts |= given && (key == "usage" || key == "error"); break;
    case 7:
      marks.facts |= given && key == "timings";
      marks.text |= text && (key == "content" || key == "refusal");
      break;
    case 9: marks.text |= text && (key == "arguments" || key == "reasoning"); break;
    case 13: marks.facts |= given && key == "finish_reason"; break;
    case 15: marks.facts |= given && key == "prompt_progress"; break;
    case 17: marks.text |= text && key == "reasoning_content"; break;
    default: break;
  }
}

// One walk over the strings, at any depth; in bytes that are no JSON it finds whatever it finds.
Marks marks_of(std::string_view json) {
  constexpr std::string_view kBlanks = " \t\r\n";
  Marks marks;
  for (std::size_t open = json.find('"'); open != std::string_view::npos;) {
    auto close = json.find('"', open + 1);
    while (close != std::string_view::npos) { // an even number of backslashes before it, or it is escaped
      auto last = json.find_last_not_of('\\', close - 1);
      if ((close - 1 - last) % 2 == 0) break;
      close = json.find('"', close + 1);
    }
    if (close == std::string_view::npos) break;
    auto colon = json.find_first_not_of(kBlanks, close + 1);
    if (colon != std::string_view::npos && json[colon] == ':')
      if (auto value = json.find_first_not_of(kBlanks, colon + 1); value != std::string_view::npos)
        mark(json.substr(open + 1, close - open - 1), json.substr(value), marks);
    open = json.find('"', close + 1);
  }
  return marks;
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
  auto [facts, text] = marks_of(json);
  if (text) ++delta.pieces;
  if (!facts) return {};
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
