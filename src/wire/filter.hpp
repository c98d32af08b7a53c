// Which of an upstream's events the client gets. Pure.
#pragma once

#include <string>
#include <string_view>

namespace intertie::wire {

// Drops events that only we asked for: the engine's prompt progress always, the usage-only event (`"choices":[]` with usage)
// when `drop_usage`. Returns `events` itself when nothing was dropped, else a view of `kept`.
std::string_view client_events(std::string_view events, bool drop_usage, std::string& kept);

} // namespace intertie::wire
