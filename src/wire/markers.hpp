// Finding facts in the bytes of an event without parsing it. A key that stands as `"key"` in the bytes may still be the
// tail of some text, so a hit is only a reason to parse; a miss is proof. Internal to wire.
#pragma once

#include <cstring>
#include <string_view>

namespace intertie::wire {

// The bytes behind `"key":`, blanks skipped; empty when the key doesn't occur. `quoted` includes the quotes.
inline std::string_view after_key(std::string_view text, std::string_view quoted) {
  while (const void* hit = ::memmem(text.data(), text.size(), quoted.data(), quoted.size())) {
    text.remove_prefix(static_cast<std::size_t>(static_cast<const char*>(hit) - text.data()) + quoted.size());
    std::string_view value = text;
    auto blanks = [&] {
      while (!value.empty() && static_cast<unsigned char>(value.front()) <= ' ') value.remove_prefix(1);
    };
    blanks();
    if (!value.starts_with(':')) continue;
    value.remove_prefix(1);
    blanks();
    return value;
  }
  return {};
}
// Does any `"key"` stand before something other than null?
inline bool has_value(std::string_view text, std::string_view quoted) {
  for (auto value = after_key(text, quoted); !value.empty(); value = after_key(value, quoted))
    if (!value.starts_with("null")) return true;
  return false;
}
} // namespace intertie::wire
