// How an Upstream comes to be: addresses, connect, proxy, TLS.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include "net/http_parse.hpp"
#include "net/upstream.hpp"

namespace intertie::net {
namespace {
using Made = Result<std::unique_ptr<Upstream>>;

struct Deadline {
  TimePoint at;
  milliseconds within; // for the message
};

void shut(void* socket) { static_cast<Socket*>(socket)->shutdown(); }

std::unexpected<Failure> unavailable(std::string message) {
  return fail(FailureKind::Unavailable, Fault::Transient, std::move(message));
}
std::unexpected<Failure> too_slow(const std::string& target, Deadline deadline) {
  return fail(
      FailureKind::Timeout, Fault::Transient,
      fmt::format("no connection to {} within {} ms: is it up and reachable?", target, deadline.within.count()));
}
std::unexpected<Failure> refused(const std::string& target, int error) {
  if (error == ECONNREFUSED || error == ENOENT)
    return unavailable(fmt::format("nothing listens on {}: is the server running?", target));
  return unavailable(fmt::format("can't connect to {}: {}", target, std::generic_category().message(error)));
}

// 0 when connected, EINPROGRESS while not yet decided, else why it failed.
int connect_state(int fd) {
  pollfd query{fd, POLLOUT, 0};
  if (::poll(&query, 1, 0) == 0) return EINPROGRESS;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

struct Name {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
Name name_of(const asio::ip::address& address, std::uint16_t port) {
  asio::ip::tcp::endpoint endpoint(address, port);
  Name name;
  name.size = static_cast<socklen_t>(endpoint.size());
  std::memcpy(&name.storage, endpoint.data(), endpoint.size());
  return name;
}
Name name_of(const std::string& path) {
  sockaddr_un unix_name{};
  unix_name.sun_family = AF_UNIX;
  std::memcpy(unix_name.sun_path, path.data(), std::min(path.size(), sizeof unix_name.sun_path - 1));
  Name name;
  name.size = sizeof unix_name;
  std::memcpy(&name.storage, &unix_name, sizeof unix_name);
  return name;
}

// The first step, at once: a socket that is connected or on its way; else why not (errno).
std::expected<Socket, int> begin_connect(Worker::Core& worker, const Name& name) {
  int fd = ::socket(name.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::unexpected(errno);
  int one = 1;
  if (name.storage.ss_family != AF_UNIX) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&name.storage), name.size) < 0 && errno != EINPROGRESS) {
    int error = errno;
    ::close(fd);
    return std::unexpected(error);
  }
  return Socket(worker, fd);
}

Task<Made> connect_one(std::shared_ptr<ClientShared> client, std::unique_ptr<Name> name, std::string target, Call& call,
                       Deadline deadline) {
  auto begun = begin_connect(client->worker, *name);
  if (!begun) co_return refused(target, begun.error());
  auto upstream = std::make_unique<Upstream>(std::move(*begun));
  OnCancel on_cancel(call.cancellation, shut, &upstream->socket);
  for (;;) {
    int state = connect_state(upstream->socket.fd());
    if (state == 0) co_return upstream;
    if (state != EINPROGRESS) co_return refused(target, state);
    Wake wake = co_await upstream->socket.writable(deadline.at);
    if (call.cancellation.cancelled()) co_return cancelled_failure(call);
    if (wake == Wake::Timeout) co_return too_slow(target, deadline);
  }
}

Task<Made> connect_tcp(std::shared_ptr<ClientShared> client, std::string host, std::uint16_t port, Call& call,
                       Deadline deadline) {
  auto addresses = client->dns.known(host);
  if (!addresses) addresses.emplace(co_await client->dns.ask(host, deadline.at, call.cancellation));
  if (call.cancellation.cancelled()) co_return cancelled_failure(call);
  if (!*addresses) co_return std::unexpected(std::move(*addresses).error());
  Made last = unavailable(fmt::format("the host {} has no address", host));
  std::string target = fmt::format("{}:{}", host, port);
  for (std::size_t i = 0; i < (*addresses)->size(); ++i) {
    // Each address gets a fair share of what is left, the last one all of it.
    TimePoint now = client->worker.now();
    if (now >= deadline.at) co_return too_slow(target, deadline);
    auto left = (deadline.at - now) / static_cast<std::int64_t>((*addresses)->size() - i);
    auto name = std::make_unique<Name>(name_of((**addresses)[i], port));
    last = co_await connect_one(client, std::move(name), target, call, {now + left, deadline.within});
    if (last || call.cancellation.cancelled()) break;
  }
  co_return last;
}

// Asks an HTTP proxy for a tunnel. Byte by byte is not needed: behind its head a tunnel is silent until we speak.
Task<Result<>> open_tunnel(std::shared_ptr<ClientShared> client, Upstream& upstream, const Endpoint& endpoint,
                           Call& call, Deadline deadline) {
  std::string target = fmt::format(
      "{}:{}", endpoint.host.find(':') == std::string::npos ? endpoint.host : "[" + endpoint.host + "]", endpoint.port);
  std::string question = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", target);
  iovec piece = piece_of(question);
  if (upstream.socket.send(&piece, 1) != static_cast<ssize_t>(question.size()))
    co_return unavailable(fmt::format("the proxy {} broke the connection", endpoint.proxy));
  Buffer in;
  HeadScan scan;
  in.need();
  while (scan.scan({in.data(), in.size}) == HeadScan::State::More) {
    ssize_t got = in.free_size() == 0 ? Socket::kBroken : upstream.socket.receive(in.free_begin(), in.free_size());
    if (got > 0) {
      in.size += static_cast<std::size_t>(got);
      continue;
    }
    if (got != Socket::kWouldBlock)
      co_return unavailable(fmt::format("the proxy {} closed the connection to {}", endpoint.proxy, target));
    Wake wake = co_await upstream.socket.readable(deadline.at);
    if (call.cancellation.cancelled()) co_return cancelled_failure(call);
    if (wake == Wake::Timeout)
      co_return too_slow(fmt::format("{} through the proxy {}", target, endpoint.proxy), deadline);
  }
  ReplyHead head;
  bool readable = parse_reply({in.data(), scan.end()}, head);
  if (readable && head.status / 100 != 2)
    co_return unavailable(fmt::format("the proxy {} refused a tunnel to {} with status {}{}", endpoint.proxy, target,
                                      head.status,
                                      head.status == 407 ? ": it wants a login, which is not supported" : ""));
  if (!readable || in.size > scan.end())
    co_return unavailable(fmt::format("the proxy {} does not speak HTTP as it should", endpoint.proxy));
  co_return Result<>{};
}
} // namespace

std::unexpected<Failure> cancelled_failure(const Call& call) {
  switch (call.cancellation.reason()) {
    case CancelReason::Deadline:
      return fail(FailureKind::Timeout, Fault::Transient, "the time allowed for this request is over");
    case CancelReason::Stopping: return fail(FailureKind::Cancelled, Fault::Ours, "intertie is stopping");
    default: return fail(FailureKind::Cancelled, Fault::Client, "the client went away");
  }
}

Task<Made> connect_upstream(std::shared_ptr<ClientShared> client, const Endpoint& endpoint, Call& call,
                            milliseconds within) {
  Deadline deadline{std::min(client->worker.now() + within, call.deadline), within};
  Made made = internal("not connected");
  if (endpoint.transport == Endpoint::Transport::Unix) {
    made = co_await connect_one(client, std::make_unique<Name>(name_of(endpoint.host)), "the socket " + endpoint.host,
                                call, deadline);
  } else if (endpoint.proxy.empty()) {
    made = co_await connect_tcp(client, endpoint.host, endpoint.port, call, deadline);
  } else {
    auto proxy = parse_url(endpoint.proxy);
    if (!proxy) co_return std::unexpected(std::move(proxy).error());
    if (proxy->endpoint.transport != Endpoint::Transport::Tcp)
      co_return unavailable(fmt::format("the proxy {} must be an http:// URL", endpoint.proxy));
    made = co_await connect_tcp(client, proxy->endpoint.host, proxy->endpoint.port, call, deadline);
  }
  if (!made || endpoint.transport != Endpoint::Transport::Tls) co_return made;
  Upstream& upstream = **made;
  OnCancel on_cancel(call.cancellation, shut, &upstream.socket);
  if (!endpoint.proxy.empty()) {
    auto tunnel = co_await open_tunnel(client, upstream, endpoint, call, deadline);
    if (!tunnel) co_return std::unexpected(std::move(tunnel).error());
  }
  auto session = client->tls.session(endpoint.ca_file, endpoint.host, upstream.socket.fd());
  if (!session) co_return std::unexpected(std::move(session).error());
  upstream.tls = std::move(*session);
  Wake wake = co_await upstream.handshake(deadline.at);
  if (call.cancellation.cancelled()) co_return cancelled_failure(call);
  if (wake == Wake::Timeout) co_return too_slow(endpoint.host, deadline);
  if (wake == Wake::Closed)
    co_return fail(FailureKind::Unavailable, Fault::Transient,
                   fmt::format("{}: {}", endpoint.host_header(), upstream.tls->handshake_error()), "tls_failed");
  co_return made;
}
} // namespace intertie::net
