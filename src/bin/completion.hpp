// Shell completion, generated from one table of verbs and options. A test reads main.cpp and complains when the table
// misses a verb or an option that is there. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace intertie::bin {

// What may follow a verb or an option.
enum class Wants : std::uint8_t { Nothing, Text, File, Folder, Model, Provider, LocalModel, Shell, Receipt, Key };

struct OptionWords {
  std::string_view name; // "--model"
  std::string_view what;
  Wants wants = Wants::Nothing;
};
struct VerbWords {
  std::string_view path; // "models show"
  std::string_view what;
  Wants argument = Wants::Nothing;
  std::array<OptionWords, 6> options{}; // unused ones have no name
};
std::span<const VerbWords> verb_words(); // THE table
std::span<const OptionWords> global_options();

std::string bash_completion();
std::string zsh_completion();
std::string fish_completion();

} // namespace intertie::bin
