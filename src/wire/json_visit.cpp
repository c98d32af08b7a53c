#include "wire/json_visit.hpp"

#include <fmt/format.h>

#include "core/json.hpp"

namespace intertie::wire {
bool JsonVisit::refuse(std::string message, std::string code, std::string param) {
  failure_ = Failure{FailureKind::BadRequest, Fault::Client, std::move(message), std::move(code), std::move(param)};
  return false;
}
bool JsonVisit::flaw(JsonFlaw flaw) {
  return refuse(fmt::format("the request body is not valid JSON: {} at byte {}", flaw.what, flaw.at), "invalid_json",
                "");
}

bool JsonVisit::broken(simdjson::error_code error) {
  if (error == simdjson::INCOMPLETE_ARRAY_OR_OBJECT) // found before the walk begins: the last character is wrong
    return flaw({trimmed(body_).size() - 1, "a last character that is not the closing }"});
  const char* at = nullptr;
  bool known = document_ != nullptr && document_->current_location().get(at) == simdjson::SUCCESS && at != nullptr;
  if (!known || at < body_.data() || offset(at) >= body_.size()) return flaw({body_.size(), "it ends too early,"});
  auto c = static_cast<unsigned char>(*at);
  if (c < 0x20 || c > 0x7E) return flaw({offset(at), "something unexpected"});
  std::string what = fmt::format("an unexpected {}", static_cast<char>(c));
  return flaw({offset(at), what});
}

bool JsonVisit::enter() {
  if (--left_ >= 0) return true;
  return refuse(fmt::format("the request body nests deeper than {} levels", most_depth_), "too_deep", "");
}

// Broken documents can make On-Demand look at the padding; nothing from there is accepted.
bool JsonVisit::inside(const char* at) {
  return offset(at) < body_.size() ? true : flaw({body_.size(), "it ends too early,"});
}

bool JsonVisit::unescaped_key(const RawString& raw, std::string_view& key) {
  if (auto bad = escape_flaw(raw.text)) return flaw({offset(raw.text.data()) + bad->at, bad->what});
  key_ = json::unescape(raw.text);
  key = key_;
  return true;
}

bool JsonVisit::kind(ondemand::value& value, JsonKind& kind) {
  ondemand::json_type type{};
  if (auto error = value.type().get(type)) return broken(error);
  switch (type) {
    case ondemand::json_type::array: kind = JsonKind::Array; return true;
    case ondemand::json_type::object: kind = JsonKind::Object; return true;
    case ondemand::json_type::number: kind = JsonKind::Number; return true;
    case ondemand::json_type::string: kind = JsonKind::String; return true;
    case ondemand::json_type::boolean: kind = JsonKind::Bool; return true;
    case ondemand::json_type::null: kind = JsonKind::Null; return true;
    default: return broken(simdjson::TAPE_ERROR);
  }
}

bool JsonVisit::string(ondemand::value& value, RawString& text) {
  // The next structural character bounds the token, so that its end needs no search.
  std::string_view token = trimmed(value.raw_json_token());
  ondemand::raw_json_string raw;
  if (auto error = value.get_raw_json_string().get(raw)) return broken(error);
  if (!inside(token.data())) return false;
  if (token.size() < 2 || token.back() != '"') return flaw({offset(token.data()), "a string that doesn't end"});
  text.text = token.substr(1, token.size() - 2);
  text.escaped = text.text.find('\\') != std::string_view::npos;
  if (!text.escaped) return true;
  auto bad = escape_flaw(text.text);
  return bad ? flaw({offset(text.text.data()) + bad->at, bad->what}) : true;
}

bool JsonVisit::scalar(ondemand::value& value, std::string_view& token) {
  token = trimmed(value.raw_json_token());
  if (!inside(token.data())) return false;
  bool number = token.front() == '-' || (token.front() >= '0' && token.front() <= '9');
  if (number ? valid_number(token) : valid_literal(token)) return true;
  return flaw({offset(token.data()), number ? "a malformed number" : "an unknown word"});
}

bool JsonVisit::skip(ondemand::value& value) {
  JsonKind what{};
  if (!kind(value, what)) return false;
  if (what == JsonKind::Object)
    return fields(value, [this](std::string_view, RawString, ondemand::value& inner) { return skip(inner); });
  if (what == JsonKind::Array) return elements(value, [this](ondemand::value& inner) { return skip(inner); });
  RawString text{};
  std::string_view token;
  return what == JsonKind::String ? string(value, text) : scalar(value, token);
}
} // namespace intertie::wire
