// What On-Demand leaves to its caller, for wire's readers: exact tokens, the grammar of numbers and literals, escapes
// with their surrogates, and where a broken document breaks. Internal to wire; include it from .cpp files only. Pure,
// any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <simdjson.h>

namespace intertie::wire {
namespace ondemand = simdjson::ondemand;

enum class JsonKind : std::uint8_t { Null = 1, Bool = 2, Number = 4, String = 8, Array = 16, Object = 32 };

// Where and why a document is not acceptable JSON. `at` is a byte offset.
struct JsonFlaw {
  std::size_t at = 0;
  std::string_view what;
};

// The inside of the string whose opening quote `open` points at. Stage 1 has made sure that it ends.
struct RawString {
  std::string_view text;
  bool escaped;
};
RawString string_at(const char* open);
// The first bad escape or lone surrogate inside a string, as an offset into `text`; nullopt when there is none.
std::optional<JsonFlaw> escape_flaw(std::string_view text);

bool valid_number(std::string_view token);
bool valid_literal(std::string_view token); // true, false, null
std::optional<std::int64_t> to_integer(std::string_view token);

// Finds what stage 1 only reports (bad UTF-8, a control character in a string, a string that doesn't end). Slow; for
// errors.
JsonFlaw locate(std::string_view body, simdjson::error_code error);

// A token without the blanks behind it; other control characters are none (RFC 8259, 2).
inline std::string_view trimmed(std::string_view token) {
  auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!token.empty() && blank(token.back())) token.remove_suffix(1);
  return token;
}

// The thread's parser. It grows with the largest document; `release_parser` gives back what a big one needed.
ondemand::parser& thread_parser();
void release_parser(std::size_t document);
} // namespace intertie::wire
