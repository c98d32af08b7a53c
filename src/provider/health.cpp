#include "provider/health.hpp"

#include <algorithm>

namespace intertie::provider {
namespace {
constexpr std::uint32_t kTolerated = 3;
constexpr seconds kLongestRest{60};
} // namespace

void Health::failed(const Failure& failure, TimePoint now) {
  const auto& fault = facts(failure.fault);
  if (fault.hard_down) {
    out_.store(true, std::memory_order_relaxed);
    return;
  }
  auto rest = [&](std::chrono::nanoseconds time) {
    rest_until_.store((now.time_since_epoch() + time).count(), std::memory_order_relaxed);
  };
  if (failure.fault == Fault::RateLimit) rest(std::min(failure.retry_after.value_or(seconds{1}), kLongestRest));
  if (!fault.counts) return;
  auto failures = failures_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (failures >= kTolerated) rest(std::min(kLongestRest, seconds{1LL << std::min(failures - kTolerated, 6U)}));
}

} // namespace intertie::provider
