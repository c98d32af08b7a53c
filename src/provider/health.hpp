// What we know of a provider from its own answers: up, resting after failures, or out until its configuration changes.
// Atomics only: read and written by every io thread, shared by successive catalogue Snapshots.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "provider/retry.hpp"

namespace intertie::provider {

enum class Condition : std::uint8_t { Up, Resting, Out };

class Health {
 public:
  Condition condition(TimePoint now) const {
    if (out_.load(std::memory_order_relaxed)) return Condition::Out;
    return now.time_since_epoch().count() < rest_until_.load(std::memory_order_relaxed) ? Condition::Resting
                                                                                        : Condition::Up;
  }
  void succeeded() {
    if (failures_.load(std::memory_order_relaxed) != 0) failures_.store(0, std::memory_order_relaxed);
  }
  // Third counted failure in a row: rest 1 s, doubling to 60 s; a success ends it. RateLimit: rest for retry_after.
  void failed(const Failure& failure, TimePoint now);
  RetryBudget retries;

 private:
  std::atomic<bool> out_{false};
  std::atomic<std::uint32_t> failures_{0};
  std::atomic<std::int64_t> rest_until_{0};
};

} // namespace intertie::provider
