// Facts about one model at one provider, as the decision sees them. A plain value: built by provider/ and local/, listed
// in the catalogue, judged by route/. Unknown numbers are zero and every reader treats zero as "unknown".
#pragma once

#include <cstdint>
#include <string>

#include "core/ask.hpp"
#include "core/place.hpp"

namespace intertie {

// Micro-US-dollars per million tokens, so that $0.15/M is 150'000. Exact in 64 bits.
struct Price {
  std::int64_t input = 0;
  std::int64_t cached_input = 0;
  std::int64_t output = 0;
  bool known = false; // a model on the device is known and zero
};

struct ModelFacts {
  std::string provider; // name of the configured provider; "local" for supervised children
  std::string name;     // the provider's own name for it
  std::string alias;    // the name clients use for it when the configuration gives one; else empty
  Place place = Place::Device;
  Trust trust = Trust::T0;
  bool paid = false;
  bool key_missing = false; // the provider wants a key and none was found
  Cap caps = Cap::None;
  bool caps_known = false;   // false: unknown, the decision lets the request try
  std::uint32_t context = 0; // tokens
  Price price{};
  int quality = 0;         // prior 0…100, from size or the shipped table; only its order matters
  double prompt_rate = 0;  // prompt tokens/s, calibrated or estimated
  double output_rate = 0;  // output tokens/s
  double load_seconds = 0; // to get ready from cold
  std::uint64_t resident_bytes = 0;
};
} // namespace intertie
