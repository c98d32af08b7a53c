// What `intertie check` says about a text: where private data is and of what kind, its class, and what the policy does
// with that class at each level of trust. Never the text itself. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "core/matrix.hpp"
#include "guard/scan.hpp"

namespace intertie::bin {

struct Checked {
  std::string_view name; // the file's name, "-" for standard input
  std::string_view text;
  const guard::Findings& findings;
  const Matrix& matrix;
};
std::string check_text(const Checked& checked); // for people, many lines
std::string check_json(const Checked& checked); // one object

// Line and column of a byte, both from 1; columns count code points, as editors do.
struct Position2d {
  std::size_t line = 1;
  std::size_t column = 1;
};
Position2d position_of(std::string_view text, std::size_t byte);

// "allow" as a person reads it.
std::string_view describe(Action action);

} // namespace intertie::bin
