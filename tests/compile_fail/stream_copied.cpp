// A Stream has one reader.
// expect: call to deleted constructor of .*Stream
#include "core/delta.hpp"
#include "core/stream.hpp"

using namespace intertie;

Stream<Delta> hand_on(Stream<Delta>&& stream) {
#ifdef MISUSE
  Stream<Delta> again = stream;
  return again;
#else
  Stream<Delta> again = std::move(stream);
  return again;
#endif
}
