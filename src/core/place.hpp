// Where an Ask may run and how private it is: the vocabulary of the policy matrix.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace intertie {
enum class Place : std::uint8_t { Device, Edge, Cloud };
// How far a place is trusted: this device, own server, attested confidential cloud, contract cloud, any cloud.
enum class Trust : std::uint8_t { T0, T1, T2, T3, T4 };
// What was found: public, identity words, direct contact, regulated, secrets, confidential mark, restricted.
enum class DataClass : std::uint8_t { C0, C1, C2, C3, C4, C5, C6 };
// What policy does about it, in order of strictness.
enum class Action : std::uint8_t { Allow, Mask, Condense, Ask, LocalOnly, Block };

inline constexpr int kTrusts = 5;
inline constexpr int kClasses = 7;

std::string_view to_string(Place place);          // "device" "edge" "cloud"
std::string_view to_string(Trust trust);          // "T0" …
std::string_view to_string(DataClass data_class); // "C0" …
std::string_view to_string(Action action);        // "allow" "mask" "condense" "ask" "local-only" "block"
std::string_view describe(DataClass data_class);  // "secrets", "direct contact" …
std::string_view describe(Trust trust);           // "this device", "own server" …
std::optional<Place> parse_place(std::string_view text);
std::optional<Trust> parse_trust(std::string_view text);
std::optional<DataClass> parse_class(std::string_view text);
std::optional<Action> parse_action(std::string_view text);
} // namespace intertie
