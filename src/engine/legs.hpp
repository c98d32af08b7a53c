// Runs one Leg: its answer from the first Delta to the last, into the Reply. Private to engine/.
#pragma once

#include "core/stream.hpp"
#include "engine/serve.hpp"

namespace intertie::engine {

// What came of one leg, whether it answered or not.
struct LegEnd {
  std::optional<Failure> failure; // empty: it answered to the end
  bool client_gone = false;       // the client could not be written to
  Usage usage{};
  std::uint32_t pieces = 0;         // for the estimate when no usage came
  std::uint32_t first_token_us = 0; // since the leg began
  bool opened = false;              // an answer began: what came of it may have been delivered
  std::uint32_t attempts = 1;
  std::string retried_after{}; // why there was more than one
  bool retries_spent = false;
};
Task<LegEnd> run_leg(Call& call, guard::Cleared cleared, provider::Target target, milliseconds keepalive_after,
                     Reply& reply, provider::Opener& opener, TimePoint begun);

// All that another attempt needs besides its key to the outside, which it is given anew.
struct LegOrder {
  const Ask& ask;
  const guard::Findings& findings;
  const Matrix& matrix;
  provider::Target target;  // its budget is the leg's share of the time that was left when it began
  provider::Health* health; // null: the local engine
  milliseconds keepalive_after;
  TimePoint begun;
};
// After a failure: tries again on the same leg what failed in passing before anything was delivered, a remote one once and
// within its retry budget, the local engine when its supervisor has another child ready. `end` as it was otherwise.
Task<LegEnd> run_again(Call& call, LegEnd end, LegOrder order, Reply& reply, provider::Opener& opener);

// The tokens to bill: measured, or estimated from what was sent and seen.
Usage settle(const LegEnd& end, const Ask& ask);

} // namespace intertie::engine
