// One connection to an upstream (TCP, TLS or unix) and the pool that keeps idle ones. An idle connection stays armed: when
// the other side closes it, it leaves the pool at that moment and not when a request needs it. One io thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/client.hpp"
#include "net/dns.hpp"
#include "net/outgoing.hpp"
#include "net/socket.hpp"
#include "net/tls.hpp"

namespace intertie::net {

class Pool;

class Upstream final : private SocketEvents {
 public:
  explicit Upstream(Socket socket_) : socket(std::move(socket_)) {}
  // As Socket::receive(); with TLS after its decryption.
  ssize_t receive(char* to, std::size_t most);
  bool drained() const { return tls ? tls_drained_ : socket.drained(); }
  bool dry() const { return tls ? tls_drained_ : socket.dry(); }
  Task<Wake> readable(TimePoint deadline);
  void shutdown() { socket.shutdown(); }
  Task<Wake> handshake(TimePoint deadline); // Ready, Timeout, or Closed when it failed

  Socket socket;
  std::unique_ptr<TlsSession> tls;
  bool reused = false;

 private:
  friend class Pool;
  void on_socket(Wake wake) override;
  Pool* pool_ = nullptr; // while idle
  bool tls_drained_ = false;
  bool tls_wants_write_ = false;
};

class Pool {
 public:
  explicit Pool(Worker::Core& worker) : worker_(worker) {}
  ~Pool() { close_all(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  std::unique_ptr<Upstream> take(const Endpoint& endpoint);
  void give(const Endpoint& endpoint, std::unique_ptr<Upstream> upstream);
  void close_all();

 private:
  friend class Upstream;
  struct Slot {
    Endpoint endpoint;
    std::vector<std::unique_ptr<Upstream>> idle; // the most recently used last
  };
  Slot* find(const Endpoint& endpoint);
  void lose(Upstream& upstream);
  Worker::Core& worker_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::size_t total_ = 0;
};

// What a Client and its Replies share; outlives the Client while a Reply lives.
struct ClientShared final : Stopped {
  explicit ClientShared(Worker::Core& core) : worker(core), pool(core), dns(core) { core.add(*this); }
  void on_stop() override {
    stopping = true;
    pool.close_all();
  }
  void on_kill() override {}
  Worker::Core& worker;
  Pool pool;
  Dns dns;
  TlsContexts tls;
  bool stopping = false;
};

// A new connection, through the proxy if the endpoint names one, TLS done.
Task<Result<std::unique_ptr<Upstream>>> connect_upstream(std::shared_ptr<ClientShared> client, const Endpoint& endpoint,
                                                         Call& call, milliseconds within);
// Why a call that was cancelled ended.
std::unexpected<Failure> cancelled_failure(const Call& call);

} // namespace intertie::net
