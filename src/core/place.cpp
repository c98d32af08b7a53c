#include "core/place.hpp"

#include <array>

namespace intertie {
namespace {
constexpr std::array<std::string_view, 3> kPlaces{"device", "edge", "cloud"};
constexpr std::array<std::string_view, kTrusts> kTrustNames{"T0", "T1", "T2", "T3", "T4"};
constexpr std::array<std::string_view, kTrusts> kTrustWords{"this device", "own server", "attested confidential cloud",
                                                            "contract cloud", "any cloud"};
constexpr std::array<std::string_view, kClasses> kClassNames{"C0", "C1", "C2", "C3", "C4", "C5", "C6"};
constexpr std::array<std::string_view, kClasses> kClassWords{
    "public", "identity words", "direct contact", "regulated", "secrets", "confidential mark", "restricted"};
constexpr std::array<std::string_view, 6> kActions{"allow", "mask", "condense", "ask", "local-only", "block"};

template <class E, std::size_t N>
std::optional<E> parse(const std::array<std::string_view, N>& names, std::string_view text) {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == text) return static_cast<E>(i);
  return std::nullopt;
}
} // namespace

std::string_view to_string(Place v) { return kPlaces[static_cast<std::size_t>(v)]; }
std::string_view to_string(Trust v) { return kTrustNames[static_cast<std::size_t>(v)]; }
std::string_view to_string(DataClass v) { return kClassNames[static_cast<std::size_t>(v)]; }
std::string_view to_string(Action v) { return kActions[static_cast<std::size_t>(v)]; }
std::string_view describe(DataClass v) { return kClassWords[static_cast<std::size_t>(v)]; }
std::string_view describe(Trust v) { return kTrustWords[static_cast<std::size_t>(v)]; }
std::optional<Place> parse_place(std::string_view t) { return parse<Place>(kPlaces, t); }
std::optional<Trust> parse_trust(std::string_view t) { return parse<Trust>(kTrustNames, t); }
std::optional<DataClass> parse_class(std::string_view t) { return parse<DataClass>(kClassNames, t); }
std::optional<Action> parse_action(std::string_view t) { return parse<Action>(kActions, t); }
} // namespace intertie
