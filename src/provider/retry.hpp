// Whether a provider that failed in passing is asked once more, and after how long. Every attempt is the provider's load:
// its budget keeps the second ones to a tenth of the first, so that an outage isn't doubled. Pure but for the budget's
// atomics, which all Workers share: kept per Worker, a quiet one's share would be too small ever to be used.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "core/clock.hpp"
#include "core/result.hpp"

namespace intertie::provider {

// One retry for ten requests, at most ten saved up. It starts with one, and a minute after the last retry there is one
// again: whoever asks seldom has nothing saved up, and no storm comes of one a minute.
class RetryBudget {
 public:
  void asked() { // a request was sent (not its retry)
    auto tenths = tenths_.load(std::memory_order_relaxed);
    while (tenths < kMost && !tenths_.compare_exchange_weak(tenths, tenths + 1, std::memory_order_relaxed)) {}
  }
  bool take(TimePoint now); // false: spent

 private:
  static constexpr std::int32_t kOne = 10, kMost = 10 * kOne;
  static constexpr std::int64_t kNever = INT64_MIN;
  std::atomic<std::int32_t> tenths_{kOne};
  std::atomic<std::int64_t> last_{kNever}; // of the steady clock: the last retry
};

inline constexpr milliseconds kBackOff{200};       // full jitter beneath it
inline constexpr seconds kLongestRetryAfter{2};    // longer, and another place or the client's own patience is better
inline constexpr milliseconds kLeastForAnswer{50}; // of the leg's time that must be left behind the wait

// Nothing for what won't pass, for what said to come back later than is bearable, and when the leg's time would be over.
// `random` is any 64 bits that differ from request to request.
std::optional<milliseconds> retry_wait(const Failure& failure, milliseconds left, std::uint64_t random);

} // namespace intertie::provider
