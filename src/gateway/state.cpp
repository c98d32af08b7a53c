#include "gateway/state.hpp"

#include <utility>

#include "core/log.hpp"

namespace intertie::gateway {
namespace {

route::Condition condition_of(const local::Status& status) {
  switch (status.state) {
    case local::State::Ready: return route::Condition::Ready;
    case local::State::Failed: return route::Condition::Down;
    case local::State::Stopped:
    case local::State::Starting:
    case local::State::Probing:
    case local::State::Draining: break;
  }
  return status.fits ? route::Condition::Cold : route::Condition::NoFit;
}

std::vector<engine::LocalModel> local_models(const local::Engines* engines) {
  std::vector<engine::LocalModel> out;
  if (engines == nullptr) return out;
  for (auto& status : engines->models()) {
    auto condition = condition_of(status);
    out.push_back({std::move(status.facts), condition});
  }
  return out;
}

} // namespace

State::State(config::Config config, const Clock& clock, std::unique_ptr<local::Engines> engines,
             std::unique_ptr<ledger::Ledger> ledger)
    : clock_(clock),
      started_(clock.now()),
      engines_(std::move(engines)),
      ledger_(std::move(ledger)),
      config_(std::move(config)),
      policy_(config_.get()->policy),
      catalogue_(engine::Catalogue{}) {
  std::lock_guard lock(rebuilding_);
  load_prices();
  rebuild();
}

void State::apply(config::Config config) {
  std::lock_guard lock(rebuilding_);
  if (engines_) engines_->configure(config.local);
  policy_.set(config.policy);
  config_.set(std::move(config));
  load_prices();
  reachable_.clear(); // a changed configuration is what brings a provider back that was out
  rebuild();
}

void State::refresh() {
  if (!engines_ || engines_->version() == engines_seen_.load(std::memory_order_acquire)) return;
  std::lock_guard lock(rebuilding_);
  if (engines_->version() != engines_seen_.load(std::memory_order_acquire)) rebuild();
}

void State::load_prices() {
  auto table = ledger::PriceTable::load(config_.get()->paths.prices_file);
  if (!table) log::error("{}; the built-in prices are used", table.error().message);
  prices_ = std::make_shared<const ledger::PriceTable>(table ? *table : ledger::PriceTable::built_in());
}

void State::rebuild() {
  if (engines_) engines_seen_.store(engines_->version(), std::memory_order_release);
  auto current = config_.get();
  std::vector<engine::Reachable> remotes;
  for (const auto& provider : current->providers) {
    auto& known = reachable_[provider.name];
    if (!known.remote)
      known = {std::make_shared<const provider::Remote>(provider), std::make_shared<provider::Health>()};
    remotes.push_back(known);
  }
  catalogue_.set(engine::Catalogue(std::move(remotes), local_models(engines_.get()), prices_));
}

engine::Services State::services() { return {clock_, policy_, catalogue_, ledger_.get(), metrics_}; }

} // namespace intertie::gateway
