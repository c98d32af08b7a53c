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
};
Task<LegEnd> run_leg(Call& call, guard::Cleared cleared, provider::Target target, milliseconds keepalive_after,
                     Reply& reply, provider::Opener& opener);

// The tokens to bill: measured, or estimated from what was sent and seen.
Usage settle(const LegEnd& end, const Ask& ask);

} // namespace intertie::engine
