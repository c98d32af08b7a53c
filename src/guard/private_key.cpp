// Private keys in their text armour: PEM (PKCS#1, PKCS#8, SEC1, OpenSSH, encrypted ones too), PGP blocks, PuTTY files.
// A header alone, as in prose about keys, holds no secret; some key material must follow.
#include <algorithm>

#include "guard/detect.hpp"

namespace intertie::guard {
namespace {
constexpr std::string_view kBegin = "-----BEGIN ", kEnd = "-----END ", kDashes = "-----";
constexpr std::size_t kMostLabel = 48, kMostBlock = 64U << 10, kMostHeaderLine = 200;

// Skips line ends and blanks, as bytes or as escapes of one more level (JSON in JSON, source code).
std::size_t skip_blanks(std::string_view text, std::size_t at) {
  for (;;) {
    if (at < text.size() && (text[at] == '\n' || text[at] == '\r' || text[at] == ' ' || text[at] == '\t')) ++at;
    else if (at + 1 < text.size() && text[at] == '\\' && (text[at + 1] == 'n' || text[at + 1] == 'r')) at += 2;
    else return at;
  }
}

// One past the material that follows a header: base64 lines and the headers of encrypted keys.
std::size_t material_end(std::string_view text, std::size_t at, std::size_t& letters) {
  std::size_t most = std::min(text.size(), at + kMostBlock);
  letters = 0;
  while ((at = skip_blanks(text, at)) < most && (is_base64(text[at]) || text[at] == '=')) {
    std::size_t run = at;
    while (at < most && (is_base64(text[at]) || text[at] == '=')) ++at;
    letters += at - run;
    if (at < most && (text[at] == '-' || text[at] == ':')) { // "Proc-Type: 4,ENCRYPTED", "Version: 1"
      std::size_t line = std::min(most, at + kMostHeaderLine);
      while (at < line && text[at] != '\n' && text[at] != '\\' && text.substr(at, 5) != kDashes) ++at;
      if (at == line) break;
    }
  }
  return at;
}

void find_armour(std::string_view text, Sink sink, void* to) {
  for (std::size_t at = find_literal(text, kBegin); at != std::string_view::npos; at = find_literal(text, kBegin, at)) {
    std::size_t label = at + kBegin.size();
    std::size_t close = text.substr(label, kMostLabel + kDashes.size()).find(kDashes);
    std::size_t begin = at;
    at = label;
    if (close == std::string_view::npos) continue;
    if (text.substr(label, close).find("PRIVATE KEY") == std::string_view::npos) continue;
    std::size_t header = label + close + kDashes.size(), letters = 0;
    std::size_t end = material_end(text, header, letters);
    bool own_line = header < text.size() && text[header] != ' ';
    if (letters < (own_line ? 4U : 24U)) continue;
    if (text.substr(end).starts_with(kEnd)) {
      std::size_t tail = text.substr(end + kEnd.size(), kMostLabel + kDashes.size()).find(kDashes);
      if (tail != std::string_view::npos) end += kEnd.size() + tail + kDashes.size();
    }
    report(sink, to, begin, end, 1.0F);
    at = end;
  }
}

void find_putty(std::string_view text, Sink sink, void* to) {
  constexpr std::string_view kHead = "PuTTY-User-Key-File-", kPrivate = "Private-Lines:";
  for (std::size_t at = find_literal(text, kHead); at != std::string_view::npos;
       at = find_literal(text, kHead, at + 1)) {
    std::size_t lines = text.substr(at, 4096).find(kPrivate);
    if (lines == std::string_view::npos) continue;
    std::size_t letters = 0, start = at + lines + kPrivate.size();
    std::size_t end = material_end(text, start, letters);
    if (letters < 24) continue;
    report(sink, to, at, end, 1.0F);
    at = end - 1;
  }
}
} // namespace

void find_private_key(std::string_view text, Sink sink, void* to) {
  find_armour(text, sink, to);
  find_putty(text, sink, to);
}
} // namespace intertie::guard
