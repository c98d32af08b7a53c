// Only guard::clear makes a Cleared: an Ask that was not judged can't be sent off the device.
// expect: calling a private constructor of class 'intertie::guard::Cleared'
#include "guard/clear.hpp"

using namespace intertie;

Result<guard::Cleared> send(const Ask& ask, const guard::Findings& findings) {
#ifdef MISUSE
  (void)findings;
  return guard::Cleared(ask, Trust::T4);
#else
  return guard::clear(ask, findings, default_matrix(), Trust::T4);
#endif
}
