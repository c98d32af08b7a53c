// A Cleared is for one leg: it moves and is never copied.
// expect: call to deleted constructor of .*Cleared
#include "guard/clear.hpp"

using namespace intertie;

guard::Cleared hand_on(guard::Cleared&& cleared) {
#ifdef MISUSE
  guard::Cleared again = cleared;
  return again;
#else
  guard::Cleared again = std::move(cleared);
  return again;
#endif
}
