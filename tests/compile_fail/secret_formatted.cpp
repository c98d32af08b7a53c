// A Secret has no formatter.
// expect: call to deleted constructor of .*formatter|is not formattable|Cannot format|T must be formattable
#include <fmt/format.h>

#include "core/secret.hpp"

using namespace intertie;

std::string show(const Secret& secret) {
#ifdef MISUSE
  return fmt::format("{}", secret);
#else
  return fmt::format("{}", secret.empty() ? "no key" : "a key");
#endif
}
