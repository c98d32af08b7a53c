// HTTP/1.1 to upstreams over TCP, TLS (on the fd) and unix sockets, with a keep-alive pool per Worker. Errors become
// Failures here and nowhere else. Destroying a Reply before its end closes the connection at once: that is how a
// cancelled answer stops upstream.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/call.hpp"
#include "core/result.hpp"
#include "core/task.hpp"
#include "net/exchange.hpp"
#include "net/worker.hpp"

namespace intertie::net {

// Where to connect: made once from a URL, then shared. Pool key.
struct Endpoint {
  enum class Transport : std::uint8_t { Tcp, Tls, Unix };
  Transport transport = Transport::Tcp;
  std::string host; // name or address; for Unix the socket's path
  std::uint16_t port = 0;
  std::string ca_file; // private CA (PEM), empty = the system's store
  std::string proxy;   // "http://host:port" for CONNECT, empty = none
  bool operator==(const Endpoint&) const = default;
  std::string host_header() const; // "host", "host:port", "[::1]:80", "localhost" for unix
};
struct Url {
  Endpoint endpoint;
  std::string path; // "/v1", without a trailing slash
};
// "http(s)://host[:port][/path]" or "unix:/path/to.sock[:/path]". BadRequest with what is wrong. User info is refused.
Result<Url> parse_url(std::string_view text);
// Proxy for `host` by HTTPS_PROXY / HTTP_PROXY / NO_PROXY (names, suffixes, "*"; loopback never), empty = none.
std::string proxy_from_environment(std::string_view scheme, std::string_view host);

enum class Wake : std::uint8_t; // socket.hpp

struct Timeouts {
  milliseconds connect{3000};
  milliseconds first_byte{30'000};
  milliseconds idle{30'000};
};

struct Request {
  std::string_view head; // request line and fixed headers, each with CRLF: "POST /v1/… HTTP/1.1\r\nHost: …\r\n"
  std::span<const Header> headers{};        // added to head
  std::span<const std::string_view> body{}; // pieces, written as one; Content-Length is ours
  bool fresh = false;                       // don't reuse a pooled connection
};

class Reply {
 public:
  Reply(Reply&&) noexcept;
  Reply& operator=(Reply&&) noexcept;
  ~Reply();
  int status() const;
  std::string_view header(std::string_view name) const; // case-insensitive; valid for the Reply's life
  bool event_stream() const;                            // Content-Type: text/event-stream
  // Next bytes of the body without its chunk framing; empty at the end. Valid until the next call. Holds no buffer while
  // it waits. UpstreamBroken on a cut, Timeout on silence, Cancelled when the call is.
  Task<Result<std::string_view>> read();
  // The same in halves, for who reads many small pieces and would pay for a frame with each: nullopt says
  // `woke(co_await wait())`, then poll() again.
  Result<std::optional<std::string_view>> poll();
  Task<Wake> wait();
  void woke(Wake wake);
  // All of it; TooLarge (UpstreamBroken) beyond `most`. Valid for the Reply's life; kPadding bytes behind it.
  Task<Result<std::string_view>> read_all(std::size_t most);

 private:
  friend class Client;
  class Impl;
  explicit Reply(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Client {
 public:
  explicit Client(Worker& worker);
  ~Client();
  // Sends and waits for the head of the answer. A pooled connection that dies before a byte of the answer is replaced by
  // a fresh one, once. Failures: Unavailable/Timeout (Transient), UpstreamBroken (Transient before the first byte of an
  // answer, then BrokenAnswer), Cancelled.
  Task<Result<Reply>> send(const Endpoint& endpoint, const Request& request, Call& call, const Timeouts& timeouts);
  // Waits before something is tried again. Cancelled, or Timeout, when the call is before that.
  Task<Result<>> pause(milliseconds time, Call& call);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace intertie::net
