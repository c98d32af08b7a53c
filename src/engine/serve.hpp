// One request from Ask to Receipt: gather, decide, clear, open, relay, account. One page, read serve.cpp top to bottom.
// Knows no sockets and no dialect: the way out is a Reply. Runs on the connection's io thread.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "core/ask.hpp"
#include "core/call.hpp"
#include "core/delta.hpp"
#include "core/shared.hpp"
#include "core/task.hpp"
#include "engine/catalogue.hpp"
#include "engine/metrics.hpp"
#include "ledger/ledger.hpp"
#include "provider/open.hpp"
#include "route/decide.hpp"

namespace intertie::engine {

// Where the answer comes from: what the answer's headers say.
struct Answering {
  CallId id;
  Place place = Place::Device;
  std::string_view provider;
  std::string_view model;
  std::shared_ptr<const std::string> reason; // one sentence
};

// The answer's way out, in the client's own dialect (gateway implements it). Nothing reaches the client before the first
// Delta, so that another leg may still be tried.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void identify(CallId id) = 0;                   // the decision's id, on every answer and refusal
  virtual void answering(const Answering& answering) = 0; // before the first write of a leg; may come again
  virtual Task<Result<>> write(const Delta& delta) = 0;
  virtual Task<Result<>> keep_alive() = 0; // commits a stream with a comment; nothing otherwise
  virtual Task<Result<>> finish(const Usage& usage) = 0;
  virtual Task<Result<>> refuse(const Failure& failure) = 0; // an error answer, or an error event once committed
  virtual Task<Result<>> routed(const route::Plan& plan, CallId id) = 0; // route-only: the plan is the answer
  virtual bool committed() const = 0;                                    // has anything gone out?
  virtual void restart() = 0;                                            // forget what was collected of a failed leg
};

// What requests share. Members outlive every request.
struct Services {
  const Clock& clock;
  const Snapshot<route::Policy>& policy;
  const Snapshot<Catalogue>& catalogue;
  ledger::Ledger* ledger; // null: no record can be kept, only the device may serve
  Metrics& metrics;
  // Bursts are judged alike: the reason's sentence serves the next request too, and a Story is told to the ledger once a
  // second instead of with every receipt. By key modulo.
  struct Sentence {
    std::uint64_t key = 0;
    std::shared_ptr<const std::string> sentence{};
  };
  struct LastTold {
    std::uint64_t key = 0;
    TimePoint at{};
  };
  std::array<Sentence, 16> sentences{};
  std::array<LastTold, 64> told{};
};

// What one request brings besides its Ask.
struct Asked {
  std::string_view endpoint; // "chat.completions"
  std::string_view caller;
  route::Hints hints{};
  milliseconds keepalive_after{15'000}; // a stream that waits longer gets a comment, so that proxies don't cut it
};

Task<void> serve(Call& call, const Ask& ask, Asked asked, Reply& reply, provider::Opener& opener, Services& services);

} // namespace intertie::engine
