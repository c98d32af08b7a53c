// Request ids: 64 bits (41 bits of ms since 2024-01-01, 23 random), shown as 13 characters of Crockford base 32 so that
// they sort by time, are short to type and have no look-alikes.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"

namespace intertie {
struct CallId {
  std::uint64_t value = 0;
  auto operator<=>(const CallId&) const = default;
};
CallId make_call_id(WallTime now); // thread-safe
WallTime time_of(CallId id);
std::string to_string(CallId id);                      // 13 characters
std::optional<CallId> parse_call_id(std::string_view); // accepts lower case, O for 0, I and L for 1
} // namespace intertie
