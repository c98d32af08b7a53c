#include "wire/json_read.hpp"

#include <charconv>
#include <cstring>

#include "core/text.hpp"

namespace intertie::wire {
namespace {
constexpr std::size_t kKeptParser = 256U << 10;

bool digit(char c) { return c >= '0' && c <= '9'; }

int hex4(std::string_view text, std::size_t at) {
  if (at + 4 > text.size()) return -1;
  int value = 0;
  auto [end, error] = std::from_chars(text.data() + at, text.data() + at + 4, value, 16);
  return error == std::errc{} && end == text.data() + at + 4 && text[at] != '-' ? value : -1;
}
} // namespace

RawString string_at(const char* open) {
  const char* begin = open + 1;
  const char* at = begin;
  bool escaped = false;
  for (; *at != '"'; ++at) {
    if (*at == '\\') {
      escaped = true;
      ++at;
    }
  }
  return {{begin, static_cast<std::size_t>(at - begin)}, escaped};
}

std::optional<JsonFlaw> escape_flaw(std::string_view text) {
  for (std::size_t at = text.find('\\'); at != std::string_view::npos; at = text.find('\\', at)) {
    char c = at + 1 < text.size() ? text[at + 1] : '\0';
    if (c != 'u') {
      if (c == '\0' || std::strchr("\"\\/bfnrt", c) == nullptr) return JsonFlaw{at, "an unknown escape"};
      at += 2;
      continue;
    }
    int unit = hex4(text, at + 2);
    if (unit < 0) return JsonFlaw{at, "a \\u escape without four hex digits"};
    if (unit >= 0xDC00 && unit < 0xE000) return JsonFlaw{at, "a lone surrogate"};
    if (unit >= 0xD800 && unit < 0xDC00) {
      bool pair = at + 7 < text.size() && text[at + 6] == '\\' && text[at + 7] == 'u';
      int low = pair ? hex4(text, at + 8) : -1;
      if (low < 0xDC00 || low >= 0xE000) return JsonFlaw{at, "a lone surrogate"};
      at += 6;
    }
    at += 6;
  }
  return std::nullopt;
}

bool valid_number(std::string_view t) {
  std::size_t i = 0;
  auto digits = [&] {
    std::size_t from = i;
    while (i < t.size() && digit(t[i])) ++i;
    return i > from;
  };
  if (i < t.size() && t[i] == '-') ++i;
  if (i < t.size() && t[i] == '0') ++i;
  else if (!digits()) return false;
  if (i < t.size() && t[i] == '.') {
    ++i;
    if (!digits()) return false;
  }
  if (i < t.size() && (t[i] | 32) == 'e') {
    ++i;
    if (i < t.size() && (t[i] == '+' || t[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == t.size();
}

bool valid_literal(std::string_view token) { return token == "true" || token == "false" || token == "null"; }

std::optional<std::int64_t> to_integer(std::string_view token) {
  std::int64_t value = 0;
  auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (end != token.data() + token.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return token.front() == '-' ? INT64_MIN : INT64_MAX;
  return error == std::errc{} ? std::optional(value) : std::nullopt;
}

JsonFlaw locate(std::string_view body, simdjson::error_code error) {
  if (error == simdjson::EMPTY) return {0, "an empty body"};
  if (error == simdjson::UTF8_ERROR) {
    std::size_t at = 0;
    while (std::size_t n = text::utf8_length(body.substr(at))) at += n;
    return {at, "invalid UTF-8"};
  }
  if (error == simdjson::CAPACITY || error == simdjson::MEMALLOC) return {body.size(), "a document too large to read"};
  std::size_t open = std::string_view::npos; // of the string we are in
  for (std::size_t i = 0; i < body.size(); ++i) {
    auto c = static_cast<unsigned char>(body[i]);
    if (open == std::string_view::npos) {
      if (c == '"') open = i;
    } else if (c == '\\') {
      ++i;
    } else if (c == '"') {
      open = std::string_view::npos;
    } else if (c < 0x20 && error == simdjson::UNESCAPED_CHARS) {
      return {i, "a control character inside a string"};
    }
  }
  if (open != std::string_view::npos) return {open, "a string that doesn't end"};
  return {body.size(), "the end of the document"};
}

ondemand::parser& thread_parser() {
  thread_local ondemand::parser parser;
  return parser;
}
void release_parser(std::size_t document) {
  if (document > kKeptParser) thread_parser() = ondemand::parser{};
}
} // namespace intertie::wire
