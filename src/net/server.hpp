// Listens and turns bytes into Exchanges: HTTP/1.1 with keep-alive, pipelining, chunked, Expect and gzip bodies, on
// loopback TCP and unix sockets. Refuses smuggling shapes, header bombs, slow clients and bodies over the limit with the
// right status. One Server per Worker (SO_REUSEPORT); the handler is shared and must be pure of per-connection state.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.hpp"
#include "net/exchange.hpp"
#include "net/worker.hpp"

namespace intertie::net {

struct ServerLimits {
  std::size_t head_bytes = 32 * 1024;  // 431 beyond
  std::size_t headers = 96;            // 431 beyond
  std::size_t body_bytes = 64u << 20;  // 413 beyond, at once, from Content-Length, before reading it
  std::size_t connections = 20'000;    // 503 beyond
  seconds head_timeout{10};            // from first byte to end of head: 408
  seconds body_timeout{30};            // without a byte of the body: 408
  milliseconds body_deadline{300'000}; // for the whole body, however steadily it drips: 408
  seconds idle_timeout{300};           // keep-alive
  seconds write_timeout{30};           // a client that does not read
  double gzip_ratio = 100;             // a body that inflates beyond this is a bomb: 413
};

class Server {
 public:
  Server(Worker& worker, const ServerLimits& limits, Handler handler);
  ~Server();
  // NotFound/Unavailable/Denied with the fix in it ("port 4683 is taken by …"). Port 0 picks one: see port().
  Result<> listen_tcp(const std::string& address, std::uint16_t port, bool reuse_port);
  Result<> listen_unix(const std::string& path); // mode 0600, stale file removed, a live one refused
  // Socket activation: takes the fd and returns where it listens, "127.0.0.1:4683" or "unix:/path"; it is left intact for
  // whoever handed it over. Failures as handed_over() in net/listen.hpp.
  Result<std::string> listen_fd(int fd);
  std::uint16_t port() const;
  std::size_t connections() const;
  void close(); // stop accepting

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace intertie::net
