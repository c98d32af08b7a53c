// Mail addresses as people write them (the dot-atom of RFC 5322, host names of RFC 1035, IDN labels), anchored at the
// @. Not here: quoted local parts, address literals, comments.
#include <algorithm>
#include <cstring>

#include "core/text.hpp"
#include "guard/detect.hpp"

namespace intertie::guard {
namespace {
constexpr std::size_t kMostLocal = 64, kMostDomain = 253, kMostLabel = 63;

constexpr bool is_high(char c) { return static_cast<unsigned char>(c) >= 0x80; } // part of a UTF-8 sequence
constexpr bool is_local(char c) {
  return is_alnum(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-' || c == '\'' || c == '&' || c == '~';
}

// Endings that are files, not top-level domains: icon@2x.png is no address.
constexpr std::array<std::string_view, 12> kFileEndings{"png", "jpg", "jpeg", "gif",  "svg",  "webp",
                                                        "bmp", "css", "js",   "json", "html", "tgz"};

// Walks back from `at` over characters that `member` accepts, at most `most` of them and never over two dots in a row.
std::size_t walk_back(std::string_view text, std::size_t at, std::size_t most, bool (*member)(char)) {
  std::size_t begin = at, least = at > most ? at - most : 0;
  while (begin > least && member(text[begin - 1]) && !(text[begin - 1] == '.' && begin < at && text[begin] == '.'))
    --begin;
  return begin;
}

// Where the local part before `at` begins; `at` itself when there is none. Letters beyond ASCII belong to it, unless
// that makes it too long: in scripts without spaces they are the sentence before.
std::size_t local_begin(std::string_view text, std::size_t at) {
  auto ascii = [](char c) { return is_local(c); };
  auto any = [](char c) { return is_local(c) || is_high(c); };
  std::size_t begin = walk_back(text, at, kMostLocal + 1, ascii);
  if (at - begin > kMostLocal) return at;
  if (begin > 0 && is_high(text[begin - 1])) {
    std::size_t wide = walk_back(text, at, kMostLocal + 1, any);
    if (at - wide <= kMostLocal) begin = wide;
  }
  while (begin < at && !is_alnum(text[begin]) && !is_high(text[begin])) ++begin; // quotes, dots, dashes around it
  return begin;
}

// One past the domain that begins at `begin`; `begin` itself when there is none.
std::size_t domain_end(std::string_view text, std::size_t begin) {
  std::size_t most = std::min(text.size(), begin + kMostDomain + 1), label = begin, end = begin;
  for (std::size_t i = begin; i <= most; ++i) {
    char c = i < most ? text[i] : '\0';
    if (is_alnum(c) || is_high(c) || (c == '-' && i > label)) continue;
    std::size_t size = i - label;
    if (size == 0 || size > kMostLabel) break;
    // The last label so far: letters only, or an IDN's xn--. High bytes right behind it belong to the sentence.
    std::size_t letters = label;
    while (letters < i && is_letter(text[letters])) ++letters;
    std::string_view ending = text.substr(label, letters - label);
    bool idn = text.substr(label, size).starts_with("xn--");
    bool pure = letters == i || is_high(text[letters]);
    if (label > begin && (idn || (pure && ending.size() >= 2 && ending.size() <= 24))) end = idn ? i : letters;
    if (c != '.') break;
    label = i + 1;
  }
  return end;
}

bool file_name(std::string_view domain) {
  auto ending = text::lower(domain.substr(domain.rfind('.') + 1));
  return std::ranges::find(kFileEndings, ending) != kFileEndings.end();
}
} // namespace

void find_email(std::string_view text, Sink sink, void* to) {
  for (std::size_t at = text.find('@'); at != std::string_view::npos; at = text.find('@', at + 1)) {
    std::size_t begin = local_begin(text, at);
    if (begin == at || text[at - 1] == '.') continue;
    std::size_t end = domain_end(text, at + 1);
    if (end == at + 1) continue;
    std::string_view local = text.substr(begin, at - begin), domain = text.substr(at + 1, end - at - 1);
    char next = end < text.size() ? text[end] : '\0';
    bool code = next == '(' || next == '@' || (local == "git" && next == ':'); // a@b.dot(c), git@host:path
    if (code || file_name(domain)) continue;
    report(sink, to, begin, end, local.size() > 1 ? 0.95F : 0.8F);
  }
}
} // namespace intertie::guard
