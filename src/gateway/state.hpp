// What all connections share: configuration, policy and catalogue as Snapshots, the engines, the ledger, the metrics.
// Built by main, outlives every Worker. apply() swaps everything a configuration says in one go; the catalogue is rebuilt
// when a local model's state changes.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "config/config.hpp"
#include "core/shared.hpp"
#include "engine/serve.hpp"
#include "ledger/ledger.hpp"
#include "ledger/prices.hpp"
#include "local/engines.hpp"

namespace intertie::gateway {

class State {
 public:
  State(config::Config config, const Clock& clock, std::unique_ptr<local::Engines> engines,
        std::unique_ptr<ledger::Ledger> ledger);

  void apply(config::Config config); // any thread; health starts afresh for providers that changed
  void refresh();                    // any thread, cheap when nothing changed
  engine::Services services();

  const Clock& clock() const { return clock_; }
  local::Engines* engines() { return engines_.get(); } // null with engine = "none"
  ledger::Ledger* ledger() { return ledger_.get(); }   // null when the receipts can't be written
  engine::Metrics& metrics() { return metrics_; }
  std::shared_ptr<const config::Config> config() const { return config_.get(); }
  std::shared_ptr<const engine::Catalogue> catalogue() const { return catalogue_.get(); }
  TimePoint started() const { return started_; }

 private:
  void load_prices();
  void rebuild();
  const Clock& clock_;
  TimePoint started_;
  std::unique_ptr<local::Engines> engines_;
  std::unique_ptr<ledger::Ledger> ledger_;
  engine::Metrics metrics_;
  Snapshot<config::Config> config_;
  Snapshot<route::Policy> policy_;
  Snapshot<engine::Catalogue> catalogue_;
  std::mutex rebuilding_;
  std::shared_ptr<const ledger::PriceTable> prices_; // under rebuilding_, as is reachable_
  std::atomic<unsigned> engines_seen_{0};
  std::unordered_map<std::string, engine::Reachable> reachable_; // under rebuilding_
};

} // namespace intertie::gateway
