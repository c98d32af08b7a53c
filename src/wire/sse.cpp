#include "wire/sse.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "wire/json_read.hpp"

namespace intertie::wire {
namespace {
constexpr std::string_view kMark = "\xEF\xBB\xBF";
constexpr std::size_t kKept = 64U << 10; // a carried event larger than this doesn't keep its memory

bool ends_line(char c) { return c == '\n' || c == '\r'; }

// One past the last blank line of carry + bytes, as an offset into `bytes` (0: none). Only blank lines that end in
// `bytes` count, since the carry by itself holds none. Looks from the back: a read usually ends where an event ends.
std::size_t whole_events(std::string_view carry, std::string_view bytes) {
  // Before the first byte of an event we stand behind a line's end.
  auto before = [&](std::size_t i, std::size_t back) {
    if (i >= back) return bytes[i - back];
    std::size_t missing = back - i;
    return missing <= carry.size() ? carry[carry.size() - missing] : '\n';
  };
  for (std::size_t i = bytes.size(); i-- > 0;) {
    if (!ends_line(bytes[i])) continue;
    char a = before(i, 1);
    if (bytes[i] == '\n' && a == '\r') {
      if (ends_line(before(i, 2))) return i + 1; // CR of this CRLF ends an empty line
    } else if (ends_line(a)) {
      return i + 1;
    }
  }
  return 0;
}

// Takes one line off `rest`, whatever ends it. Looks in windows, so that a stream without any LF stays linear.
std::string_view take_line(std::string_view& rest) {
  constexpr std::size_t kWindow = 512;
  for (std::size_t from = 0; from < rest.size(); from += kWindow) {
    std::string_view window = rest.substr(from, kWindow);
    std::size_t end = std::min(window.find('\n'), window.size());
    end = std::min(window.substr(0, end).find('\r'), end);
    if (end == window.size()) continue;
    std::string_view line = rest.substr(0, from + end);
    bool pair = rest[line.size()] == '\r' && line.size() + 1 < rest.size() && rest[line.size() + 1] == '\n';
    rest.remove_prefix(line.size() + (pair ? 2 : 1));
    return line;
  }
  return std::exchange(rest, {});
}

bool complete_data(std::string_view line) {
  if (!line.starts_with("data:")) return false;
  line.remove_prefix(5);
  if (line.starts_with(' ')) line.remove_prefix(1);
  if (line == "[DONE]") return true;
  simdjson::dom::parser parser;
  return !line.empty() && parser.parse(line.data(), line.size()).error() == simdjson::SUCCESS;
}
} // namespace

// A mark may stand before the first event and may come cut.
std::string_view SseFramer::without_mark(std::string_view bytes) {
  if (started_) return bytes;
  while (!bytes.empty() && carry_.size() < kMark.size() && bytes.front() == kMark[carry_.size()]) {
    carry_ += bytes.front();
    bytes.remove_prefix(1);
  }
  if (carry_ == kMark) carry_.clear();
  else if (bytes.empty()) return bytes; // perhaps the rest comes
  started_ = true;
  return bytes;
}

Result<std::string_view> SseFramer::feed(std::string_view bytes) {
  joined_.clear();
  if (joined_.capacity() > kKept) joined_ = {};
  bytes = without_mark(bytes);
  if (after_cr_ && !bytes.empty()) {
    if (bytes.front() == '\n') bytes.remove_prefix(1);
    after_cr_ = false;
  }
  std::size_t whole = whole_events(carry_, bytes);
  std::size_t kept = whole == 0 ? carry_.size() + bytes.size() : bytes.size() - whole;
  if (kept > most_)
    return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer,
                fmt::format("the provider sent a single stream event of more than {} bytes", most_), "event_too_large");
  std::string_view run;
  if (whole > 0) {
    run = bytes.substr(0, whole);
    after_cr_ = run.back() == '\r' && whole == bytes.size();
    if (!carry_.empty()) {
      joined_.swap(carry_);
      run = joined_.append(run);
      carry_.clear();
    }
  }
  carry_.append(bytes.substr(whole));
  return run;
}

std::string_view SseFramer::end() {
  joined_.clear();
  joined_.swap(carry_);
  if (!started_) joined_.clear();
  std::string_view rest = joined_, last;
  bool data = false;
  bool closed = !joined_.empty() && ends_line(joined_.back());
  while (!rest.empty()) {
    last = take_line(rest);
    data = data || last.starts_with("data:");
  }
  if (!data || (!closed && !complete_data(last))) return {};
  joined_ += closed ? "\n" : "\n\n";
  return joined_;
}

std::optional<std::string_view> DataReader::next() {
  std::string_view first;
  bool have = false, several = false;
  while (!rest_.empty()) {
    std::string_view line = take_line(rest_);
    if (line.empty()) {
      if (have && !first.empty()) return several ? std::string_view{joined_} : first;
      have = several = false;
      continue;
    }
    if (!line.starts_with("data") || (line.size() > 4 && line[4] != ':')) continue;
    line.remove_prefix(line.size() > 4 ? 5 : 4);
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (!have) {
      first = line;
      have = true;
      continue;
    }
    if (!several) joined_ = first;
    several = true;
    joined_ += '\n';
    joined_ += line;
    first = joined_;
  }
  if (have && !first.empty()) return several ? std::string_view{joined_} : first;
  return std::nullopt;
}
} // namespace intertie::wire
