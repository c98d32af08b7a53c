#include "engine/metrics.hpp"

#include <fmt/format.h>

namespace intertie::engine {
namespace {
constexpr std::array<std::string_view, 4> kPlaceNames{"device", "edge", "cloud", "nowhere"};
constexpr std::array kOutcomeValues{ledger::Outcome::Answered, ledger::Outcome::Refused, ledger::Outcome::Failed,
                                    ledger::Outcome::ClientGone, ledger::Outcome::BrokenMidStream};
void raise(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}
std::uint64_t read(const std::atomic<std::uint64_t>& counter) { return counter.load(std::memory_order_relaxed); }
} // namespace

void Histogram::add(std::uint64_t taken) {
  auto s = static_cast<double>(taken) / 1e6;
  std::size_t bucket = 0;
  while (bucket < kBounds.size() && s > kBounds[bucket]) ++bucket;
  raise(buckets_[bucket]);
  raise(sum_us_, taken);
}

void Histogram::render(std::string& out, std::string_view name) const {
  auto to = std::back_inserter(out);
  fmt::format_to(to, "# TYPE {} histogram\n", name);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < kBounds.size(); ++i)
    fmt::format_to(to, "{}_bucket{{le=\"{}\"}} {}\n", name, kBounds[i], total += read(buckets_[i]));
  total += read(buckets_[kBounds.size()]);
  fmt::format_to(to, "{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, total,
                 static_cast<double>(read(sum_us_)) / 1e6);
}

void Metrics::count(const ledger::Receipt& receipt, ledger::Outcome outcome, std::optional<Place> answered_at) {
  std::size_t place = answered_at ? static_cast<std::size_t>(*answered_at) : kPlaces - 1;
  raise(requests_[place][static_cast<std::size_t>(outcome)]);
  raise(input_tokens_[place], receipt.usage.prompt_tokens);
  raise(output_tokens_[place], receipt.usage.completion_tokens);
  raise(micro_usd_[place], static_cast<std::uint64_t>(receipt.micro_usd));
  if (receipt.first_token_us > 0) first_token_.add(receipt.first_token_us);
  duration_.add(receipt.total_us);
  decide_.add(receipt.decide_us);
}

void Metrics::retried(bool answered, std::uint32_t attempts, bool over_budget) {
  raise(answered ? retries_answered_ : retries_failed_, attempts - 1);
  if (over_budget) raise(retries_over_budget_);
}

std::string Metrics::render() const {
  std::string out;
  auto to = std::back_inserter(out);
  out +=
      "# HELP intertie_requests_total Requests by where they ran and how they ended.\n# TYPE intertie_requests_total "
      "counter\n";
  for (std::size_t p = 0; p < kPlaces; ++p)
    for (auto outcome : kOutcomeValues)
      fmt::format_to(to, "intertie_requests_total{{place=\"{}\",outcome=\"{}\"}} {}\n", kPlaceNames[p],
                     ledger::to_string(outcome), read(requests_[p][static_cast<std::size_t>(outcome)]));
  out += "# TYPE gen_ai_client_token_usage_total counter\n";
  for (std::size_t p = 0; p + 1 < kPlaces; ++p) {
    fmt::format_to(to, "gen_ai_client_token_usage_total{{place=\"{}\",gen_ai_token_type=\"input\"}} {}\n",
                   kPlaceNames[p], read(input_tokens_[p]));
    fmt::format_to(to, "gen_ai_client_token_usage_total{{place=\"{}\",gen_ai_token_type=\"output\"}} {}\n",
                   kPlaceNames[p], read(output_tokens_[p]));
  }
  out += "# TYPE intertie_cost_usd_total counter\n";
  for (std::size_t p = 0; p + 1 < kPlaces; ++p)
    fmt::format_to(to, "intertie_cost_usd_total{{place=\"{}\"}} {}\n", kPlaceNames[p],
                   static_cast<double>(read(micro_usd_[p])) / 1e6);
  fmt::format_to(to, "# TYPE intertie_requests_in_flight gauge\nintertie_requests_in_flight {}\n", in_flight());
  fmt::format_to(
      to,
      "# HELP intertie_retries_total Second attempts at the same place, and those that the budget of a tenth "
      "of the requests did not allow.\n# TYPE intertie_retries_total counter\n"
      "intertie_retries_total{{result=\"answered\"}} {}\nintertie_retries_total{{result=\"failed\"}} {}\n"
      "intertie_retries_total{{result=\"over_budget\"}} {}\n",
      read(retries_answered_), read(retries_failed_), read(retries_over_budget_));
  first_token_.render(out, "gen_ai_server_time_to_first_token_seconds");
  duration_.render(out, "gen_ai_server_request_duration_seconds");
  decide_.render(out, "intertie_decide_seconds");
  return out;
}

} // namespace intertie::engine
