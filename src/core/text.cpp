#include "core/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace intertie::text {

std::size_t utf8_length(std::string_view t) {
  if (t.empty()) return 0;
  auto byte = [&](std::size_t i) { return i < t.size() ? static_cast<unsigned char>(t[i]) : 0U; };
  auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  unsigned a = byte(0);
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF) return tail(1) ? 2 : 0;
  if (a >= 0xE0 && a <= 0xEF) {
    if (!tail(1) || !tail(2) || (a == 0xE0 && byte(1) < 0xA0) || (a == 0xED && byte(1) > 0x9F)) return 0;
    return 3;
  }
  if (a >= 0xF0 && a <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3) || (a == 0xF0 && byte(1) < 0x90) || (a == 0xF4 && byte(1) > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

bool valid_utf8(std::string_view t) {
  while (!t.empty()) {
    std::size_t n = utf8_length(t);
    if (n == 0) return false;
    t.remove_prefix(n);
  }
  return true;
}

void append_utf8(std::string& out, char32_t c) {
  auto push = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    push(c);
  } else if (c < 0x800) {
    push(0xC0 | (c >> 6));
    push(0x80 | (c & 63));
  } else if (c < 0x10000) {
    push(0xE0 | (c >> 12));
    push(0x80 | ((c >> 6) & 63));
    push(0x80 | (c & 63));
  } else {
    push(0xF0 | (c >> 18));
    push(0x80 | ((c >> 12) & 63));
    push(0x80 | ((c >> 6) & 63));
    push(0x80 | (c & 63));
  }
}

std::string lower(std::string_view t) {
  std::string out(t);
  std::ranges::transform(out, out.begin(), [](char c) { return lower(c); });
  return out;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::ranges::equal(a, b, [](char x, char y) { return x == y || lower(x) == lower(y); });
}

std::string percent_decode(std::string_view t) {
  auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < t.size(); ++i) {
    bool escape = t[i] == '%' && i + 2 < t.size() && digit(t[i + 1]) >= 0 && digit(t[i + 2]) >= 0;
    out += escape ? static_cast<char>(digit(t[i + 1]) * 16 + digit(t[i + 2])) : t[i];
    if (escape) i += 2;
  }
  return out;
}

std::string_view trim(std::string_view t) {
  auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!t.empty() && blank(t.front())) t.remove_prefix(1);
  while (!t.empty() && blank(t.back())) t.remove_suffix(1);
  return t;
}

std::vector<std::string_view> split(std::string_view t, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    auto at = t.find(separator);
    parts.push_back(t.substr(0, at));
    if (at == std::string_view::npos) return parts;
    t.remove_prefix(at + 1);
  }
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      bool same = lower(a[i - 1]) == lower(b[j - 1]);
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (same ? 0U : 1U)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
        next[j] = std::min(next[j], before[j - 2] + 1);
    }
    before.swap(row);
    row.swap(next);
  }
  return row[b.size()];
}

std::vector<std::string> suggest(std::string_view word, std::span<const std::string> candidates, std::size_t most) {
  std::vector<std::pair<std::size_t, std::string>> near;
  word = word.substr(0, 128);
  for (const auto& candidate : candidates) {
    std::size_t distance = edit_distance(word, std::string_view{candidate}.substr(0, 128));
    bool contained = word.size() >= 3 && (lower(candidate).find(lower(word)) != std::string::npos ||
                                          lower(word).find(lower(candidate)) != std::string::npos);
    if (distance <= 1 + word.size() / 4 || contained) near.emplace_back(distance, candidate);
  }
  std::ranges::sort(near);
  near.erase(std::ranges::unique(near).begin(), near.end());
  std::vector<std::string> out;
  for (auto& [distance, candidate] : near)
    if (out.size() < most) out.push_back(std::move(candidate));
  return out;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return value < 9.95 && unit > 0 ? fmt::format("{:.1f} {}", value, kUnits[unit])
                                  : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string human_dollars(std::int64_t micro_usd) {
  auto dollars = static_cast<double>(micro_usd) / 1e6;
  if (micro_usd == 0) return "$0.00";
  return dollars < 0.01 ? fmt::format("${:.6f}", dollars) : fmt::format("${:.2f}", dollars);
}

std::optional<std::uint64_t> parse_bytes(std::string_view t) {
  t = trim(t);
  double number = 0;
  auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), number);
  if (error != std::errc{} || number < 0) return std::nullopt;
  auto unit = lower(trim({end, static_cast<std::size_t>(t.data() + t.size() - end)}));
  constexpr std::array<std::pair<std::string_view, double>, 9> kUnits{{{"", 1},
                                                                       {"b", 1},
                                                                       {"kb", 1e3},
                                                                       {"mb", 1e6},
                                                                       {"gb", 1e9},
                                                                       {"tb", 1e12},
                                                                       {"kib", 1024.0},
                                                                       {"mib", 1048576.0},
                                                                       {"gib", 1073741824.0}}};
  for (auto [name, factor] : kUnits)
    if (unit == name && number * factor < 1e18) return static_cast<std::uint64_t>(number * factor);
  return std::nullopt;
}
} // namespace intertie::text
