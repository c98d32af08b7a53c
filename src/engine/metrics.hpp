// Counters and histograms of the request path: relaxed atomics, so that a scrape never waits for a request nor the other
// way round. Rendered as Prometheus text with the names of the OpenTelemetry GenAI semantic conventions where one exists.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "core/place.hpp"
#include "ledger/receipt.hpp"

namespace intertie::engine {

class Histogram {
 public:
  static constexpr std::array<double, 14> kBounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                  0.25,  0.5,    1,     2.5,  5,     10,   60};
  void add(std::uint64_t microseconds_taken);
  void render(std::string& out, std::string_view name) const;

 private:
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> buckets_{};
  std::atomic<std::uint64_t> sum_us_{0};
};

class Metrics {
 public:
  void count(const ledger::Receipt& receipt, ledger::Outcome outcome, std::optional<Place> answered_at);
  void retried(bool answered, std::uint32_t attempts, bool over_budget); // one leg that was, or would have been
  void started() { in_flight_.fetch_add(1, std::memory_order_relaxed); }
  void ended() { in_flight_.fetch_sub(1, std::memory_order_relaxed); }
  std::int64_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }
  std::string render() const;

 private:
  static constexpr std::size_t kOutcomes = 5;
  static constexpr std::size_t kPlaces = 4; // device, edge, cloud, nowhere
  std::array<std::array<std::atomic<std::uint64_t>, kOutcomes>, kPlaces> requests_{};
  std::array<std::atomic<std::uint64_t>, kPlaces> input_tokens_{}, output_tokens_{}, micro_usd_{};
  std::atomic<std::uint64_t> retries_answered_{0}, retries_failed_{0}, retries_over_budget_{0};
  Histogram first_token_, duration_, decide_;
  std::atomic<std::int64_t> in_flight_{0};
};

} // namespace intertie::engine
