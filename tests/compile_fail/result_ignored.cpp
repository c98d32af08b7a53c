// A failure can't be overlooked.
// expect: ignoring return value of .*nodiscard
#include "wire/chat.hpp"

using namespace intertie;

void read(std::string_view events, Delta& delta) {
#ifdef MISUSE
  wire::read_chat_events(events, delta);
#else
  if (auto result = wire::read_chat_events(events, delta); !result) delta.last = true;
#endif
}
