// Visits every value of a JSON document once and refuses whatever is not valid: the base of wire's request reader.
// On-Demand alone leaves escapes, numbers, literals, depth and trailing bytes unchecked. Internal to wire. One
// document, one thread.
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "wire/json_read.hpp"

namespace intertie::wire {

// Every method returns false after the first flaw; `failure()` then says what. Callbacks return false to stop likewise.
class JsonVisit {
 public:
  JsonVisit(std::string_view body, int most_depth) : body_(body), left_(most_depth), most_depth_(most_depth) {}

  // Reads the whole document, which must be an object: `field(key, value)` for each of its fields.
  template <class F>
  bool document(F&& field);
  // `field(std::string_view key, RawString raw, ondemand::value& value)`; `key` is unescaped.
  template <class F>
  bool fields(ondemand::value& value, F&& field);
  template <class F>
  bool elements(ondemand::value& value, F&& element);
  bool kind(ondemand::value& value, JsonKind& kind);
  bool string(ondemand::value& value, RawString& text);         // consumes a string
  bool scalar(ondemand::value& value, std::string_view& token); // a number or literal; nothing to consume
  bool skip(ondemand::value& value);                            // validates and drops any value

  std::uint32_t offset(const char* at) const { return static_cast<std::uint32_t>(at - body_.data()); }
  bool refuse(std::string message, std::string code, std::string param);
  Failure& failure() { return failure_; }

 protected:
  std::string_view body_;

 private:
  bool broken(simdjson::error_code error);
  bool flaw(JsonFlaw flaw);
  bool enter();
  bool inside(const char* at);
  bool unescaped_key(const RawString& raw, std::string_view& key);
  template <class F>
  bool object(ondemand::object& object, F&& field);

  Failure failure_{};
  ondemand::document* document_ = nullptr;
  std::string key_; // an unescaped key that had escapes
  int left_;
  int most_depth_;
};

template <class F>
bool JsonVisit::document(F&& field) {
  if (body_.starts_with("\xEF\xBB\xBF")) return flaw({0, "a byte order mark"});
  simdjson::padded_string_view view(body_.data(), body_.size(), body_.size() + simdjson::SIMDJSON_PADDING);
  ondemand::document document;
  if (auto error = thread_parser().iterate(view).get(document)) return flaw(locate(body_, error));
  document_ = &document;
  ondemand::json_type type{};
  if (auto error = document.type().get(type)) return broken(error);
  if (type != ondemand::json_type::object) return refuse("the request body must be a JSON object", "invalid_type", "");
  ondemand::object top;
  if (auto error = document.get_object().get(top)) return broken(error);
  if (!enter() || !object(top, field)) return false;
  const char* rest = nullptr;
  if (document.current_location().get(rest) != simdjson::OUT_OF_BOUNDS) {
    if (rest == nullptr || offset(rest) >= body_.size()) return flaw({body_.size(), "the end of the document"});
    return flaw({offset(rest), "something after the end of the object"});
  }
  return true;
}

template <class F>
bool JsonVisit::object(ondemand::object& object, F&& field) {
  for (auto item : object) {
    ondemand::field entry;
    if (auto error = std::move(item).get(entry)) return broken(error);
    const char* open = entry.key().raw() - 1;
    if (!inside(open)) return false;
    RawString raw = string_at(open);
    std::string_view key = raw.text;
    if (raw.escaped && !unescaped_key(raw, key)) return false;
    ondemand::value value = entry.value();
    if (!field(key, raw, value)) return false;
  }
  ++left_;
  return true;
}

template <class F>
bool JsonVisit::fields(ondemand::value& value, F&& field) {
  ondemand::object inner;
  if (auto error = value.get_object().get(inner)) return broken(error);
  return enter() && object(inner, field);
}

template <class F>
bool JsonVisit::elements(ondemand::value& value, F&& element) {
  ondemand::array array;
  if (auto error = value.get_array().get(array)) return broken(error);
  if (!enter()) return false;
  for (auto item : array) {
    ondemand::value inner;
    if (auto error = std::move(item).get(inner)) return broken(error);
    if (!element(inner)) return false;
  }
  ++left_;
  return true;
}
} // namespace intertie::wire
