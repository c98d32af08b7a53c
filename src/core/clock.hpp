// Time as a value that tests can turn. `Clock` is one of the three virtual seams: SystemClock is the real one, FakeClock
// moves only when told. Time-outs and back-off read a Clock, never std::chrono directly.
#pragma once

#include <chrono>
#include <ctime>

namespace intertie {
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using TimePoint = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::sys_time<milliseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0; // monotonic
  // May lag some 10 ms: for deadlines of seconds, at a tenth of the cost.
  virtual TimePoint coarse() const { return now(); }
  virtual WallTime wall() const = 0; // UTC, for records that people read
};

class SystemClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
  TimePoint coarse() const override { // libstdc++'s steady_clock is CLOCK_MONOTONIC, so that both can be compared
    timespec at{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
    return TimePoint{seconds{at.tv_sec} + std::chrono::nanoseconds{at.tv_nsec}};
  }
  WallTime wall() const override {
    return std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now());
  }
};

// For tests: starts at 1,000 s after the epoch on both scales. Not thread-safe.
class FakeClock final : public Clock {
 public:
  TimePoint now() const override { return TimePoint{} + offset_; }
  WallTime wall() const override { return WallTime{} + std::chrono::duration_cast<milliseconds>(offset_); }
  void advance(std::chrono::nanoseconds by) { offset_ += by; }

 private:
  std::chrono::nanoseconds offset_{std::chrono::seconds{1000}};
};
} // namespace intertie
