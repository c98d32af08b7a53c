#include "net/server.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <vector>

#include <boost/asio/co_spawn.hpp>

#include "core/log.hpp"
#include "net/connection.hpp"
#include "net/listen.hpp"

namespace intertie::net {
namespace {
constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 128\r\nRetry-After: 1\r\n"
    "Connection: close\r\n\r\n"
    R"({"error":{"message":"Too many open connections, try again soon.","type":"server_error","param":null,"code":"too_many_clients"}})"
    "\n";
static_assert(kFull.size() - kFull.find("{\"error") == 128);

enum class Owner : std::uint8_t { Us, Somebody };
struct Listener {
  Socket socket;
  Owner owner;
  bool tcp;
};

Task<void> serve(std::unique_ptr<Connection> connection) { co_await connection->serve(); }
} // namespace

class Server::Impl final : public Stopped {
 public:
  Impl(Worker& worker, const ServerLimits& limits, Handler handler)
      : shared(std::make_shared<ServerShared>(worker.core(), limits, std::move(handler))) {
    worker.core().add(*this);
  }
  ~Impl() {
    close();
    on_kill();
  }

  Result<> listen(int fd, Owner owner = Owner::Us) {
    auto listener = std::make_shared<Listener>(Socket(shared->worker, fd, Socket::Role::Listener), owner, is_tcp(fd));
    if (port == 0) port = local_port(fd);
    listeners.push_back(listener);
    asio::co_spawn(shared->worker.context.get_executor(), accept_all(shared, count, listener),
                   [](std::exception_ptr error) { Worker::Core::log_escaped(error, "accept loop"); });
    return {};
  }
  void close() {
    // Shutting down ends the socket for all who hold it: one that isn't ours must go on listening when we are gone.
    for (auto& listener : listeners)
      if (listener->owner == Owner::Us) listener->socket.shutdown();
      else listener->socket.interrupt();
    listeners.clear();
    if (!unix_path.empty()) ::unlink(std::exchange(unix_path, {}).c_str());
  }
  void on_stop() override {
    shared->closing = true;
    close();
    for_each([](Connection& connection) { connection.close_if_idle(); });
  }
  void on_kill() override {
    shared->closing = true;
    for_each([](Connection& connection) { connection.cut(); });
  }

  std::shared_ptr<ServerShared> shared;
  std::shared_ptr<std::atomic<std::size_t>> count = std::make_shared<std::atomic<std::size_t>>(0);
  std::vector<std::shared_ptr<Listener>> listeners;
  std::string unix_path;
  std::uint16_t port = 0;

 private:
  static Task<void> accept_all(std::shared_ptr<ServerShared> shared, std::shared_ptr<std::atomic<std::size_t>> count,
                               std::shared_ptr<Listener> listener) {
    while (!shared->closing && listener.use_count() > 1) {
      int fd = ::accept4(listener->socket.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        take(shared, count, fd, listener->tcp);
        continue;
      }
      if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
      if (errno == EAGAIN) {
        (void)co_await listener->socket.readable(kNever);
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log::warn("can't accept connections for now: out of {} (raise the limit with ulimit -n)",
                  errno == EMFILE || errno == ENFILE ? "file descriptors" : "memory");
        (void)co_await listener->socket.readable(shared->worker.now() + kFastSweep);
      } else {
        break; // closed
      }
    }
  }
  static void take(const std::shared_ptr<ServerShared>& shared, const std::shared_ptr<std::atomic<std::size_t>>& count,
                   int fd, bool tcp) {
    if (count->load(std::memory_order_relaxed) >= shared->limits.connections) {
      (void)::send(fd, kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      ::close(fd);
      return;
    }
    int one = 1;
    if (tcp) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    try {
      auto connection = std::make_unique<Connection>(shared, Socket(shared->worker, fd), tcp);
      count->fetch_add(1, std::memory_order_relaxed);
      asio::co_spawn(shared->worker.context.get_executor(), serve(std::move(connection)),
                     [count](std::exception_ptr error) {
                       count->fetch_sub(1, std::memory_order_relaxed);
                       Worker::Core::log_escaped(error, "connection");
                     });
    } catch (const std::exception& exception) { log::error("can't take a connection: {}", exception.what()); }
  }
  template <class F>
  void for_each(F&& f) {
    for (auto* connection = shared->connections; connection != nullptr;) {
      auto* next = connection->next();
      f(connection->self());
      connection = next;
    }
  }
};

Server::Server(Worker& worker, const ServerLimits& limits, Handler handler)
    : impl_(std::make_unique<Impl>(worker, limits, std::move(handler))) {}
Server::~Server() = default;

Result<> Server::listen_tcp(const std::string& address, std::uint16_t port, bool reuse_port) {
  TRY(int fd, open_tcp_listener(address, port, reuse_port));
  return impl_->listen(fd);
}

Result<> Server::listen_unix(const std::string& path) {
  TRY(int fd, open_unix_listener(path));
  impl_->unix_path = path;
  return impl_->listen(fd);
}

Result<std::string> Server::listen_fd(int fd) {
  TRY(auto where, handed_over(fd));
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  TRY_VOID(impl_->listen(fd, Owner::Somebody));
  return where;
}

std::uint16_t Server::port() const { return impl_->port; }
std::size_t Server::connections() const { return impl_->count->load(std::memory_order_relaxed); }
void Server::close() { impl_->close(); }
} // namespace intertie::net
