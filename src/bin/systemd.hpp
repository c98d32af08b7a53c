// The two systemd protocols we speak, without its library: readiness (sd_notify, Type=notify) and inherited sockets
// (sd_listen_fds, socket activation). Both by their man pages.
#pragma once

#include <string_view>
#include <vector>

namespace intertie::bin {
void notify_systemd(
    std::string_view state);          // "READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=…"; no-op elsewhere
std::vector<int> inherited_sockets(); // takes them out of the environment
} // namespace intertie::bin
