// The only key to the outside. provider::open takes nothing but a Cleared, and only clear() can make one, after asking
// the matrix. Sending an unscanned Ask off the device does not compile; tests/compile_fail proves it.
#pragma once

#include "core/matrix.hpp"
#include "core/result.hpp"
#include "guard/scan.hpp"

namespace intertie::guard {

// An Ask allowed to go to *this* level of trust. Borrows the Ask. Moves, does not copy.
class Cleared {
 public:
  Cleared(Cleared&&) noexcept = default;
  Cleared& operator=(Cleared&&) noexcept = default;
  Cleared(const Cleared&) = delete;
  Cleared& operator=(const Cleared&) = delete;

  const Ask& ask() const { return *ask_; }
  Trust trust() const { return trust_; }

 private:
  friend Result<Cleared> clear(const Ask&, const Findings&, const Matrix&, Trust);
  Cleared(const Ask& ask, Trust trust) : ask_(&ask), trust_(trust) {}
  const Ask* ask_;
  Trust trust_;
};

// Denied (Fault::OurPolicy, code "policy_block" or "policy_local_only") unless the matrix allows the findings' class at
// `trust`. An action this build can't carry out yet (mask, condense, ask) denies too. Unscanned findings pass only
// where the matrix is open for everything.
Result<Cleared> clear(const Ask& ask, const Findings& findings, const Matrix& matrix, Trust trust);

} // namespace intertie::guard
