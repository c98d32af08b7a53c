#include "provider/retry.hpp"

namespace intertie::provider {
namespace {
// No connection, or one that ended before a byte of the answer: nothing was answered, so nothing is answered twice. What has
// a code of its own (a certificate that is wrong) is still so in a moment.
bool never_answered(const Failure& f) {
  return f.upstream_status == 0 && f.fault == Fault::Transient && f.code.empty() &&
         (f.kind == FailureKind::Unavailable || f.kind == FailureKind::UpstreamBroken);
}
bool passes(const Failure& f) {
  if (f.fault != Fault::Transient && f.fault != Fault::RateLimit) return false;
  switch (f.upstream_status) {
    case 502:
    case 503:
    case 504:
    case 529: return true;
    case 429: return f.retry_after.has_value(); // without it, when to come back is anybody's guess
    default: return never_answered(f);
  }
}
} // namespace

bool RetryBudget::take(TimePoint now) {
  constexpr auto kMinute = std::chrono::duration_cast<TimePoint::duration>(std::chrono::minutes{1}).count();
  auto at = now.time_since_epoch().count();
  auto tenths = tenths_.load(std::memory_order_relaxed);
  while (tenths >= kOne) {
    if (!tenths_.compare_exchange_weak(tenths, tenths - kOne, std::memory_order_relaxed)) continue;
    last_.store(at, std::memory_order_relaxed);
    return true;
  }
  auto last = last_.load(std::memory_order_relaxed);
  return last != kNever && at - last >= kMinute &&
         last_.compare_exchange_strong(last, at, std::memory_order_relaxed); // one of those who see the minute gone
}

std::optional<milliseconds> retry_wait(const Failure& failure, milliseconds left, std::uint64_t random) {
  if (!passes(failure)) return std::nullopt;
  auto after = failure.retry_after.value_or(seconds{0});
  if (after > kLongestRetryAfter) return std::nullopt;
  // splitmix64's finaliser: ids of one millisecond differ in few bits
  random = (random ^ (random >> 30)) * 0xBF58476D1CE4E5B9;
  random = (random ^ (random >> 27)) * 0x94D049BB133111EB;
  auto jitter =
      milliseconds{static_cast<std::int64_t>((random ^ (random >> 31)) % static_cast<std::uint64_t>(kBackOff.count()))};
  auto wait = std::chrono::duration_cast<milliseconds>(after) + jitter;
  if (wait + kLeastForAnswer > left) return std::nullopt;
  return wait;
}

} // namespace intertie::provider
