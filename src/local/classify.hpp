// Why a child ended and what to do about it: the table of messages the engine is known to print, and the back-off and
// breaker that keep a broken child from being restarted for ever. Pure; time comes in as values.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "local/children.hpp"

namespace intertie::local {

enum class Remedy : std::uint8_t {
  None,           // it was told to stop
  Never,          // the same again would fail again: a person has to do something
  Later,          // restart after the back-off
  SmallerContext, // killed for memory, it seems: once more with half the context
};

struct Verdict {
  Remedy remedy = Remedy::Later;
  std::string reason; // one sentence with the fix in it
};
struct Circumstances {
  bool was_ready = false;
  bool killed_by_us = false; // as it was stuck or too slow
  bool memory_kill =
      true; // the kernel has killed something for want of memory since the child was started, or can't tell
};
// `log` is what the child printed.
Verdict classify_exit(const Exit& exit, std::string_view log, const Circumstances& circumstances);
// How often the kernel has killed for want of memory since it was booted; nothing when it doesn't tell.
std::optional<std::uint64_t> memory_kills();

// 0.5 s, doubled up to 30 s; after 5 failures within 2 minutes the breaker is open until the oldest is 2 minutes old.
class Backoff {
 public:
  void failed(TimePoint now);
  void succeeded(); // an answer was given since: the next delay is short again
  void reset() { *this = Backoff{}; }
  TimePoint retry_at() const { return retry_at_; }
  bool open(TimePoint now) const;
  static constexpr int kBreaker = 5;
  static constexpr seconds kWindow{120};

 private:
  std::deque<TimePoint> failures_;
  milliseconds delay_{500};
  TimePoint retry_at_{};
};

} // namespace intertie::local
