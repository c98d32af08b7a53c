// The URL table and what stands behind each row. One Gateway per Worker; it owns the Worker's upstream client. Handlers
// answer through the Exchange and never throw for input.
#pragma once

#include <memory>

#include "gateway/state.hpp"
#include "net/client.hpp"
#include "net/exchange.hpp"
#include "net/sideline.hpp"
#include "net/worker.hpp"
#include "provider/open.hpp"

namespace intertie::gateway {

class Gateway {
 public:
  Gateway(State& state, net::Worker& worker);
  Task<void> handle(net::Exchange& exchange);

  State& state() { return state_; }
  net::Worker& worker() { return worker_; }
  provider::Opener& opener() { return opener_; }
  engine::Services& services() { return services_; }
  net::Sideline& sideline() { return sideline_; } // for what blocks

 private:
  State& state_;
  net::Worker& worker_;
  net::Client client_;
  provider::Opener opener_;
  engine::Services services_;
  net::Sideline sideline_;
};

// Handlers, by file: chat.cpp, admin.cpp.
Task<void> chat_completions(Gateway& gateway, net::Exchange& exchange);
Task<void> list_models(Gateway& gateway, net::Exchange& exchange);
Task<void> health(Gateway& gateway, net::Exchange& exchange);
Task<void> ready(Gateway& gateway, net::Exchange& exchange);
Task<void> metrics(Gateway& gateway, net::Exchange& exchange);
Task<void> status(Gateway& gateway, net::Exchange& exchange);
Task<void> explain(Gateway& gateway, net::Exchange& exchange);
Task<void> receipts(Gateway& gateway, net::Exchange& exchange);
Task<void> change_model(Gateway& gateway, net::Exchange& exchange);
Task<void> rescan(Gateway& gateway, net::Exchange& exchange);

} // namespace intertie::gateway
