// Payment card numbers (PAN): issuer ranges and lengths of ISO/IEC 7812 as the schemes publish them, Luhn's check digit
// (ISO/IEC 7812-1, annex B), written in one piece or in groups with one kind of separator.
#include <algorithm>
#include <charconv>

#include "guard/detect.hpp"

namespace intertie::guard {
namespace {
constexpr std::size_t kMostDigits = 19, kLeastDigits = 12, kMostGroups = 8;

// Prefixes [low, high] of `digits` digits, and the lengths as bits.
struct Issuer {
  int digits;
  int low, high;
  std::uint32_t lengths;
};
constexpr std::uint32_t len(int n) { return 1U << n; }
constexpr std::uint32_t kTo19 = len(16) | len(17) | len(18) | len(19);
constexpr std::array kIssuers = std::to_array<Issuer>({
    {1, 4, 4, len(13) | len(16) | len(19)}, // Visa
    {2, 51, 55, len(16)},
    {4, 2221, 2720, len(16)}, // Mastercard
    {2, 34, 34, len(15)},
    {2, 37, 37, len(15)}, // American Express
    {4, 6011, 6011, kTo19},
    {3, 644, 649, kTo19},
    {2, 65, 65, kTo19},     // Discover
    {4, 3528, 3589, kTo19}, // JCB
    {3, 300, 305, len(14) | len(16)},
    {4, 3095, 3095, len(14) | len(16)},
    {2, 36, 36, len(14)},
    {2, 38, 39, len(14) | len(16)}, // Diners Club
    {2, 62, 62, kTo19},
    {2, 81, 81, kTo19}, // UnionPay
    {4, 5018, 5018, kTo19 | 0xF000},
    {4, 5020, 5020, kTo19 | 0xF000},
    {4, 5038, 5038, kTo19 | 0xF000},
    {4, 5893, 5893, kTo19 | 0xF000},
    {4, 6304, 6304, kTo19 | 0xF000},
    {4, 6759, 6759, kTo19 | 0xF000},
    {4, 6761, 6763, kTo19 | 0xF000}, // Maestro: 12 to 19
});

bool issued(std::string_view digits) {
  int first4 = 0;
  std::from_chars(digits.data(), digits.data() + 4, first4);
  constexpr std::array<int, 5> kScale{0, 1000, 100, 10, 1};
  return std::ranges::any_of(kIssuers, [&](const Issuer& issuer) {
    int prefix = first4 / kScale[static_cast<std::size_t>(issuer.digits)];
    return prefix >= issuer.low && prefix <= issuer.high && (issuer.lengths >> digits.size() & 1) != 0;
  });
}

bool luhn(std::string_view digits) {
  int sum = 0;
  bool twice = false;
  for (std::size_t i = digits.size(); i-- > 0; twice = !twice) {
    int d = digits[i] - '0';
    if (twice && (d *= 2) > 9) d -= 9;
    sum += d;
  }
  return sum % 10 == 0;
}

bool card(std::string_view digits) {
  return digits.size() >= kLeastDigits && digits.size() <= kMostDigits && issued(digits) && luhn(digits);
}

// Digits in groups with one separator, as far as they go: 4111 1111 1111 1111.
struct Groups {
  std::array<std::size_t, kMostGroups> begin{}, size{};
  std::size_t count = 0;
  bool more = false; // the row of numbers goes on
};

std::size_t digits_end(std::string_view text, std::size_t at) {
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

// Length of a separator at `at`: blank, dash, dot, no-break space (C2 A0); 0 when there is none.
std::size_t separator(std::string_view text, std::size_t at) {
  if (at >= text.size()) return 0;
  if (text[at] == ' ' || text[at] == '-' || text[at] == '.') return 1;
  return text.substr(at).starts_with("\xC2\xA0") ? 2 : 0;
}

Groups groups_at(std::string_view text, std::size_t at, std::size_t first_end) {
  Groups groups;
  std::size_t total = 0, gap = 0;
  std::string_view mark;
  for (std::size_t end = first_end;;) {
    total += end - at;
    groups.more = end - at < 2 || total > kMostDigits || groups.count == kMostGroups;
    if (groups.more) break;
    groups.begin[groups.count] = at;
    groups.size[groups.count++] = end - at;
    gap = separator(text, end);
    if (gap == 0 || (groups.count > 1 && text.substr(end, gap) != mark)) break;
    mark = text.substr(end, gap);
    at = end + gap;
    end = digits_end(text.substr(0, std::min(text.size(), at + kMostDigits + 1)), at);
    if (end == at) break;
  }
  return groups;
}

// A group boundary that could not be inside a longer number or word.
bool free_before(std::string_view text, std::size_t at) {
  if (at == 0) return true;
  char c = text[at - 1];
  if (c == '.' || c == ',') return at < 2 || !is_digit(text[at - 2]); // 3.4111… is a fraction
  bool word = is_alnum(c) && !after_escape(text, at);
  return !word && c != '_' && c != '+';
}
bool free_behind(std::string_view text, std::size_t at) {
  if (at >= text.size()) return true;
  if (text[at] == '.' || text[at] == ',') return at + 1 >= text.size() || !is_digit(text[at + 1]);
  return !is_alnum(text[at]) && text[at] != '_';
}

// The usual ways to write 13 to 19 digits in groups.
bool usual(const Groups& groups, std::size_t count) {
  constexpr std::array<std::string_view, 8> kShapes{"4444", "465", "464", "44443", "4445", "88", "444", "4443"};
  std::array<char, kMostGroups> shape{};
  for (std::size_t i = 0; i < count; ++i) shape[i] = static_cast<char>('0' + groups.size[i]);
  return std::ranges::find(kShapes, std::string_view{shape.data(), count}) != kShapes.end();
}

// How many of the groups, from the first on, make a card number; 0 when none do. In a longer row of numbers only the
// usual shapes count.
std::size_t card_groups(std::string_view text, const Groups& groups) {
  std::array<char, kMostDigits> digits{};
  std::size_t size = 0, found = 0;
  for (std::size_t i = 0; i < groups.count; ++i) {
    std::copy_n(text.begin() + static_cast<std::ptrdiff_t>(groups.begin[i]), groups.size[i],
                digits.begin() + static_cast<std::ptrdiff_t>(size));
    size += groups.size[i];
    bool whole = i + 1 == groups.count && !groups.more;
    bool shape = i == 0 || whole || usual(groups, i + 1);
    if (shape && free_behind(text, groups.begin[i] + groups.size[i]) && card({digits.data(), size})) found = i + 1;
  }
  return found;
}
} // namespace

void find_payment_card(std::string_view text, Sink sink, void* to) {
  for (std::size_t at = find_digit(text, 0); at != std::string_view::npos; at = find_digit(text, at)) {
    std::size_t end = digits_end(text, at);
    if (end - at <= kMostDigits && free_before(text, at)) {
      Groups groups = groups_at(text, at, end);
      if (std::size_t count = groups.count == 0 ? 0 : card_groups(text, groups); count > 0) {
        end = groups.begin[count - 1] + groups.size[count - 1];
        report(sink, to, at, end, 0.95F);
      }
    }
    at = end;
  }
}
} // namespace intertie::guard
