// What a person decided in advance: parsed, validated, immutable. The default policy is the four rules of the product.
// Nothing in a request, a header or a model's output can loosen it; request hints may only tighten (see Hints).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/matrix.hpp"
#include "core/model.hpp"

namespace intertie::route {

struct Policy {
  Matrix matrix = default_matrix();
  bool paid = false;                 // may paid places be used at all? Off until the person turns it on
  Place furthest = Place::Cloud;     // nothing beyond this place, whatever else allows it
  std::uint32_t small_tokens = 2000; // rule 2: a prompt this short is a small task and stays on the device
  int high_end_quality = 0;          // rule 4: used only with `auto:best`, or when nothing nearer fits
  std::vector<std::string> prefer;   // provider names, nearest wish first; breaks ties only
  // sha256 of the policy's source, 16 hex digits; stamped on Receipts. Made when it is asked for: a daemon that has nothing
  // to do doesn't load a hash library.
  std::function<std::string()> digest = [] { return std::string{}; };
};

// The shipped policy file, as text that a person reads: the four rules, in order.
std::string_view default_policy_text();

} // namespace intertie::route
