// The golden runner: text files of cases, each an input and what must come of it.
//
//   == what the case shows
//   verb arguments
//   input, any number of lines
//   ----
//   expectation, up to the next case
//
// A verb with ! behind it reads \n \r \t \\ \xHH and \rep(N,text) in its input; a ~ in any input disappears (it keeps
// hosting services from taking a test's key for a real one). `tools/golden.py --accept` rewrites the expectations.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace intertie::golden {
struct Verb {
  std::string_view name;
  std::string (*run)(std::string_view arguments, std::string_view input);
};
// THE registry of verbs; verbs.cpp.
std::span<const Verb> verbs();
} // namespace intertie::golden
