// Cuts a byte stream into whole SSE events (WHATWG HTML, 9.2), whatever the network did to it: CR, LF, CRLF, a BOM,
// comments, no final blank line, cuts anywhere (inside a UTF-8 sequence too). Any split of the bytes gives the same
// events.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace intertie::wire {

class SseFramer {
 public:
  explicit SseFramer(std::size_t most = 4u << 20) : most_(most) {} // a longer single event is UpstreamBroken
  // Adds bytes; returns the longest run of *whole* events now available (possibly empty). The common case — the bytes
  // hold only whole events and nothing was carried — returns a view of `bytes` itself. Valid until the next call.
  Result<std::string_view> feed(std::string_view bytes);
  // At the end of the stream: what is left, closed with a blank line if it is a complete data line, else empty.
  std::string_view end();
  bool mid_event() const { return !carry_.empty(); }

 private:
  std::string_view without_mark(std::string_view bytes);

  std::size_t most_;
  bool started_ = false;  // the byte order mark, if any, is behind us
  bool after_cr_ = false; // the last event ended with CR: a LF that follows belongs to it
  std::string carry_;     // the beginning of an event still incomplete
  std::string joined_;    // what the last feed() returned when it had to be put together
};

// Walks the data of whole events: `DataReader r(events); while (auto data = r.next()) …`. Data lines of one event are
// joined with a newline; comments and other fields are skipped. The view is valid until the next call.
class DataReader {
 public:
  explicit DataReader(std::string_view events) : rest_(events) {}
  std::optional<std::string_view> next();
  std::string_view rest() const { return rest_; } // what comes after the event last returned

 private:
  std::string_view rest_;
  std::string joined_;
};

} // namespace intertie::wire
