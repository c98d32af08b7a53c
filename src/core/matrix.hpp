// The one table that says what a class of data may do at a level of trust. It binds every hop: first call, fallback,
// classifier, cache. Immutable inside a policy Snapshot.
#pragma once

#include <array>
#include <cstddef>

#include "core/place.hpp"

namespace intertie {

struct Matrix {
  // actions[class][trust]
  std::array<std::array<Action, kTrusts>, kClasses> actions{};
  // What data counts as when it was not scanned or a detector failed: the strictest class this policy names.
  DataClass unknown = DataClass::C6;

  Action at(DataClass data_class, Trust trust) const {
    return actions[static_cast<std::size_t>(data_class)][static_cast<std::size_t>(trust)];
  }
  // True when every class may go there as it is, so that nothing needs scanning on its account.
  bool open(Trust trust) const {
    for (const auto& row : actions)
      if (row[static_cast<std::size_t>(trust)] != Action::Allow) return false;
    return true;
  }
};

// The shipped default. Masking, condensing and ask-first arrive with the full guard; until then each of them is made
// stricter, never looser: this table holds only allow, local-only and block.
inline Matrix default_matrix() {
  using enum Action;
  Matrix m;
  //                     T0     T1         T2         T3         T4
  m.actions = {{{Allow, Allow, Allow, Allow, Allow},                 // C0 public
                {Allow, Allow, Allow, Allow, Allow},                 // C1 identity words
                {Allow, Allow, LocalOnly, LocalOnly, LocalOnly},     // C2 direct contact
                {Allow, LocalOnly, LocalOnly, LocalOnly, LocalOnly}, // C3 regulated
                {Allow, LocalOnly, LocalOnly, Block, Block},         // C4 secrets
                {Allow, Allow, LocalOnly, LocalOnly, LocalOnly},     // C5 confidential mark
                {Allow, LocalOnly, LocalOnly, LocalOnly, Block}}};   // C6 restricted
  return m;
}
} // namespace intertie
