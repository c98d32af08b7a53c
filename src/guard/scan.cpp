#include "guard/scan.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/json.hpp"

namespace intertie::guard {
namespace {
constexpr std::size_t kMostFindings = 100'000; // more is not a prompt but an attack on our memory: incomplete

// Decoded text of an escaped span, and where its bytes came from: a list of stretches that differ by a constant.
class Decoded {
 public:
  explicit Decoded(std::string_view raw) {
    text_.reserve(raw.size());
    std::size_t at = 0;
    while (at < raw.size()) {
      std::size_t slash = std::min(raw.find('\\', at), raw.size());
      stretch(at, 0);
      text_.append(raw, at, slash - at);
      at = slash;
      if (at == raw.size()) break;
      std::size_t size = escape_size(raw, at);
      stretch(at, size);
      text_ += json::unescape(raw.substr(at, size));
      at += size;
    }
    stretch(at, 0);
  }
  std::string_view text() const { return text_; }
  // A byte inside an escape maps to the escape's begin, or to its end when `end` is asked for.
  std::uint32_t raw(std::uint32_t decoded, bool end) const {
    auto next = std::ranges::upper_bound(stretches_, decoded, {}, &Stretch::decoded);
    const Stretch& in = *std::prev(next);
    if (in.escape == 0) return in.raw + (decoded - in.decoded);
    return end && decoded > in.decoded ? in.raw + in.escape : in.raw;
  }

 private:
  struct Stretch {
    std::uint32_t decoded, raw, escape;
  };

  static std::size_t escape_size(std::string_view raw, std::size_t at) {
    bool unicode = at + 1 < raw.size() && raw[at + 1] == 'u';
    std::size_t size = unicode ? 6 : 2;
    if (unicode && at + 12 <= raw.size() && (raw[at + 2] | 32) == 'd' && std::strchr("89abAB", raw[at + 3]) != nullptr)
      size = 12;
    return std::min(size, raw.size() - at);
  }
  void stretch(std::size_t raw, std::size_t escape) {
    Stretch next{static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(raw),
                 static_cast<std::uint32_t>(escape)};
    if (!stretches_.empty() && stretches_.back().decoded == next.decoded) stretches_.back() = next;
    else stretches_.push_back(next);
  }
  std::string text_;
  std::vector<Stretch> stretches_;
};

struct Collector {
  Findings& findings;
  std::size_t size = 0;    // of the text being scanned
  std::uint32_t begin = 0; // of that text in the body
  const Decoded* decoded = nullptr;
  Position position = Position::Unknown;
  std::uint16_t row = 0;
  DataClass data_class = DataClass::C0;

  static void sink(void* to, std::uint32_t begin, std::uint32_t end, float score) {
    auto& self = *static_cast<Collector*>(to);
    if (begin >= end || end > self.size || self.findings.list.size() >= kMostFindings) {
      self.findings.complete = false;
      return;
    }
    if (self.decoded != nullptr) {
      begin = self.decoded->raw(begin, false);
      end = self.decoded->raw(end, true);
    }
    self.findings.list.push_back(
        {self.begin + begin, self.begin + end, self.row, self.data_class, self.position, score});
  }

  void run(std::string_view text, std::span<const Detector> rows) {
    size = text.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      row = static_cast<std::uint16_t>(i);
      data_class = rows[i].data_class;
      try {
        rows[i].find(text, &Collector::sink, this);
      } catch (...) { // fail closed: whatever it was, this text was not looked at properly
        findings.complete = false;
      }
    }
  }
};

// Overlapping findings become one that covers them all. The higher class names it, then the longer: a key inside
// something that looks like a mail address must stay a secret.
void merge(std::vector<Finding>& list) {
  std::ranges::sort(
      list, [](const Finding& a, const Finding& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
  std::size_t kept = 0;
  std::uint32_t best = 0; // length of the finding that names the kept one
  for (std::size_t i = 0; i < list.size(); ++i) {
    Finding next = list[i];
    if (kept == 0 || next.begin >= list[kept - 1].end) {
      list[kept++] = next;
      best = next.end - next.begin;
      continue;
    }
    Finding& last = list[kept - 1];
    std::uint32_t length = next.end - next.begin;
    std::uint32_t begin = last.begin, end = std::max(last.end, next.end);
    if (next.data_class > last.data_class || (next.data_class == last.data_class && length > best)) {
      last = next;
      best = length;
    }
    last.begin = begin;
    last.end = end;
  }
  list.resize(kept);
}
} // namespace

DataClass Findings::highest(DataClass unknown) const {
  DataClass highest = scanned && complete ? DataClass::C0 : unknown;
  for (const auto& finding : list) highest = std::max(highest, finding.data_class);
  return highest;
}

Findings scan(const Ask& ask, std::span<const Detector> rows) {
  Findings findings{.list = {}, .scanned = true, .complete = true};
  Collector collector{.findings = findings};
  for (const auto& span : ask.texts) {
    collector.begin = span.begin;
    collector.position = span.position;
    if (!span.escaped) {
      collector.decoded = nullptr;
      collector.run(ask.at(span), rows);
    } else {
      Decoded decoded(ask.at(span));
      collector.decoded = &decoded;
      collector.run(decoded.text(), rows);
    }
  }
  merge(findings.list);
  return findings;
}

Findings scan_text(std::string_view text, std::span<const Detector> rows) {
  Findings findings{.list = {}, .scanned = true, .complete = true};
  Collector collector{.findings = findings};
  collector.run(text, rows);
  merge(findings.list);
  return findings;
}
} // namespace intertie::guard
