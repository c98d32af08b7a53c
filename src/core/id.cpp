#include "core/id.hpp"

#include <random>

namespace intertie {
namespace {
constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::int64_t kEpochMs = 1704067200000; // 2024-01-01T00:00:00Z
constexpr unsigned kRandomBits = 23;
constexpr int kDigits = 13;

int digit_value(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (c == 'O') c = '0';
  if (c == 'I' || c == 'L') c = '1';
  auto at = kAlphabet.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}
} // namespace

CallId make_call_id(WallTime now) {
  thread_local std::minstd_rand random{std::random_device{}()};
  auto ms = static_cast<std::uint64_t>(now.time_since_epoch().count() - kEpochMs);
  std::uint64_t low =
      (static_cast<std::uint64_t>(random()) ^ (static_cast<std::uint64_t>(random()) << 12)) & ((1U << kRandomBits) - 1);
  return CallId{(ms << kRandomBits) | low};
}

WallTime time_of(CallId id) {
  return WallTime{milliseconds{static_cast<std::int64_t>(id.value >> kRandomBits) + kEpochMs}};
}

std::string to_string(CallId id) {
  std::string text(kDigits, '0');
  auto value = id.value;
  for (int i = kDigits - 1; i >= 0; --i, value >>= 5) text[static_cast<std::size_t>(i)] = kAlphabet[value & 31];
  return text;
}

std::optional<CallId> parse_call_id(std::string_view text) {
  if (text.size() != kDigits) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : text) {
    int digit = digit_value(c);
    if (digit < 0 || (value >> 59) != 0) return std::nullopt; // 13 digits could hold 65 bits
    value = (value << 5) | static_cast<std::uint64_t>(digit);
  }
  return CallId{value};
}
} // namespace intertie
