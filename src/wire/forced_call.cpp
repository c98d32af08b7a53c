// The answer's half of forced tools: the model's JSON as a tool call.
#include <algorithm>
#include <array>

#include "core/json.hpp"
#include "core/text.hpp"
#include "wire/answer.hpp"
#include "wire/forced_tools.hpp"
#include "wire/sse.hpp"

namespace intertie::wire {
namespace {
// What stands before the arguments; the empty token is the name's string.
constexpr std::array<std::string_view, 7> kHead{"{", "\"name\"", ":", "", ",", "\"arguments\"", ":"};
constexpr std::size_t kMostHeld = 8192; // a head with longer blanks or a longer name is none

bool blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
} // namespace

bool CallReader::known() const { return std::ranges::find(names_, name_) != names_.end(); }

void CallReader::head(char c) {
  held_ += c;
  auto token = kHead[step_];
  if (at_ == 0 && blank(c)) {
    if (held_.size() > kMostHeld) give_up();
    return;
  }
  if (!token.empty()) {
    if (c != token[at_]) return give_up();
    if (++at_ == token.size()) ++step_, at_ = 0;
  } else if (at_ == 0) {
    if (c != '"') return give_up();
    at_ = held_.size(); // the name begins here
  } else if (escaped_) {
    escaped_ = false;
  } else if (c == '\\') {
    escaped_ = true;
  } else if (c == '"') {
    name_ = json::unescape(std::string_view{held_}.substr(at_, held_.size() - at_ - 1));
    if (!known()) return give_up();
    ++step_, at_ = 0;
  }
  if (held_.size() > kMostHeld) give_up();
}

void CallReader::argument(char c, Piece& piece) {
  if (in_string_) {
    piece.arguments += c;
    if (escaped_) escaped_ = false;
    else if (c == '\\') escaped_ = true;
    else if (c == '"') in_string_ = false;
    if (!in_string_ && depth_ == 0) state_ = State::Closing;
    return;
  }
  if (blank(c)) return;
  if (c == '}' && depth_ == 0) { // behind a bare number or word
    complete_ = true;
    state_ = State::Behind;
    return;
  }
  piece.arguments += c;
  if (c == '"') in_string_ = true;
  else if (c == '{' || c == '[') ++depth_;
  else if ((c == '}' || c == ']') && --depth_ <= 0) state_ = State::Closing;
}

CallReader::Piece CallReader::read(std::string_view text) {
  Piece piece;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    switch (state_) {
      case State::Head:
        head(c);
        if (state_ == State::Text) piece.text += std::exchange(held_, {});
        if (state_ == State::Text || step_ < kHead.size()) break;
        held_.clear();
        state_ = State::Arguments;
        piece.begins = true;
        break;
      case State::Arguments: argument(c, piece); break;
      case State::Closing:
      case State::Behind:
        held_ += c;
        if (blank(c) && held_.size() <= kMostHeld) break;
        if (c == '}' && state_ == State::Closing) {
          complete_ = true;
          state_ = State::Behind;
          held_.clear();
          break;
        }
        give_up();
        piece.text += std::exchange(held_, {});
        break;
      case State::Text: piece.text += text.substr(i); return piece;
    }
  }
  return piece;
}

CallReader::Piece CallReader::end() {
  Piece piece;
  if (state_ == State::Head) piece.text = std::exchange(held_, {});
  give_up();
  return piece;
}

namespace {
std::string inside_quotes(std::string_view key) {
  auto quoted = json::quoted(key);
  return quoted.substr(1, quoted.size() - 2);
}

std::string call_delta(const CallReader::Piece& piece, std::string_view id, const std::string& name) {
  json::Object call, function;
  call.add("index", 0);
  if (piece.begins) {
    call.add("id", id).add("type", "function");
    function.add("name", name);
  }
  function.add("arguments", piece.arguments);
  return "[" + call.raw("function", function.str()).str() + "]";
}

// The delta without the model's own text, with what that text meant.
std::string new_delta(dom::object delta, const CallReader::Piece& piece, std::string_view id, const std::string& name) {
  json::Object out;
  for (auto [key, value] : delta)
    if (key != "content" || (value.is_null() && piece.text.empty()))
      out.raw(inside_quotes(key), simdjson::minify(value));
  if (!piece.text.empty()) out.add("content", piece.text);
  if (piece.begins || !piece.arguments.empty()) out.raw("tool_calls", call_delta(piece, id, name));
  return out.str();
}
} // namespace

Result<std::string_view> CallEvents::rewrite(std::string_view events) {
  rewritten_.clear();
  DataReader reader(events);
  while (auto data = reader.next()) {
    auto json = text::trim(*data);
    auto keep = [&] { rewritten_.append("data: ").append(json).append("\n\n"); };
    if (json.empty()) continue;
    if (json == "[DONE]") {
      keep();
      break;
    }
    TRY(auto event, parse_object(json));
    dom::array choices;
    if (event["choices"].get(choices) != simdjson::SUCCESS || choices.begin() == choices.end()) {
      keep();
      continue;
    }
    dom::object choice, delta;
    if ((*choices.begin()).get(choice) != simdjson::SUCCESS || choice["delta"].get(delta) != simdjson::SUCCESS) {
      keep();
      continue;
    }
    auto content = text_of(delta, "content"), reason = text_of(choice, "finish_reason");
    if (content.empty() && reason.empty()) {
      keep();
      continue;
    }
    auto piece = reader_.read(content);
    if (!reason.empty()) piece.text += reader_.end().text;
    auto written = new_delta(delta, piece, id_, reader_.name());
    bool probable = choice["logprobs"].is_object();
    if (written == "{}" && reason.empty() && !probable) continue;
    if (reader_.complete() && reason == "stop") reason = "tool_calls";
    json::Object changed, out;
    for (auto [key, value] : choice) {
      if (key == "delta") changed.raw("delta", written);
      else if (key == "finish_reason" && !reason.empty()) changed.add("finish_reason", reason);
      else changed.raw(inside_quotes(key), simdjson::minify(value));
    }
    for (auto [key, value] : event)
      out.raw(inside_quotes(key), key == "choices" ? "[" + changed.str() + "]" : simdjson::minify(value));
    rewritten_.append("data: ").append(out.str()).append("\n\n");
  }
  return std::string_view{rewritten_};
}

} // namespace intertie::wire
