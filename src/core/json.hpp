// The few JSON chores the core needs: writing strings and small objects by hand, and validating text. Documents that are
// built use Boost.JSON, documents that are read use simdjson; both stay in .cpp files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace intertie::json {
// Appends `text` as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD, so the result is always valid JSON.
void append_string(std::string& out, std::string_view text);
std::string quoted(std::string_view text);

// Decodes the inside of a JSON string (between its quotes). Lone surrogates become U+FFFD.
std::string unescape(std::string_view raw);

// A writer for small objects: `Object o; o.add("id", x).add("n", 3); o.str()`. Keys are literals and not escaped.
class Object {
 public:
  Object& add(std::string_view key, std::string_view value);
  Object& add(std::string_view key, const char* value) { return add(key, std::string_view{value}); }
  Object& add(std::string_view key, std::int64_t value);
  Object& add(std::string_view key, std::uint64_t value);
  Object& add(std::string_view key, int value) { return add(key, std::int64_t{value}); }
  Object& add(std::string_view key, unsigned value) { return add(key, std::uint64_t{value}); }
  Object& add(std::string_view key, double value); // shortest form that reads back; NaN and infinities become null
  Object& add(std::string_view key, bool value);
  Object& null(std::string_view key);
  Object& raw(std::string_view key, std::string_view json); // `json` is already JSON
  std::string str() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  void key(std::string_view key);
  std::string text_;
};

// The same for arrays.
class Array {
 public:
  Array& add(std::string_view value);
  Array& raw(std::string_view json);
  std::string str() const { return text_.empty() ? "[]" : text_ + "]"; }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};
} // namespace intertie::json
