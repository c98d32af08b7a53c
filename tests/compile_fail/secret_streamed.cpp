// A Secret can't be written to a stream.
// expect: overload resolution selected deleted operator '<<'
#include <ostream>

#include "core/secret.hpp"

using namespace intertie;

void show(std::ostream& out, const Secret& secret) {
#ifdef MISUSE
  out << secret;
#else
  out << secret.empty();
#endif
}
