// Listening sockets: bind with errors that say what to do. Returns a non-blocking, close-on-exec fd. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.hpp"

namespace intertie::net {
Result<int> open_tcp_listener(const std::string& address, std::uint16_t port, bool reuse_port);
Result<int> open_unix_listener(const std::string& path); // mode 0600 from the first moment on
std::uint16_t local_port(int fd);                        // 0 when it is no TCP socket
bool is_tcp(int fd);
// A listening socket that somebody else bound: where it listens, as "127.0.0.1:4683" or "unix:/path". BadRequest when it is
// no listening stream socket, Denied when other machines could reach it.
Result<std::string> handed_over(int fd);
std::string port_owner(std::uint16_t port); // "nginx (pid 12)", empty when unknown
} // namespace intertie::net
