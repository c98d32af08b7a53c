// Small pure functions over text: UTF-8, case, "did you mean", and numbers as people read them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace intertie::text {
// Length in bytes (1-4) of the valid UTF-8 sequence at the start, 0 when invalid (RFC 3629: no surrogates, no overlong).
std::size_t utf8_length(std::string_view text);
bool valid_utf8(std::string_view text);
void append_utf8(std::string& out, char32_t code);

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
std::string lower(std::string_view text);
bool equal_ignoring_case(std::string_view a, std::string_view b);
std::string percent_decode(std::string_view text); // RFC 3986; what is no valid escape stays as it is
std::string_view trim(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);

// Levenshtein distance with transpositions (optimal string alignment), over bytes, case-insensitive.
std::size_t edit_distance(std::string_view a, std::string_view b);
// Up to `most` of `candidates` near enough to `word` to be what was meant, nearest first. Near enough: distance <= 1 +
// length/4, or one contains the other.
std::vector<std::string> suggest(std::string_view word, std::span<const std::string> candidates, std::size_t most = 3);

std::string human_bytes(std::uint64_t bytes);                    // "98 MB", "1.2 GB" (decimal units)
std::string human_dollars(std::int64_t micro_usd);               // "$0.00", "$0.000123", "$1.25"
std::optional<std::uint64_t> parse_bytes(std::string_view text); // "512", "512 MB", "4GiB"
} // namespace intertie::text
