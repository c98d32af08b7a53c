// One stream socket (TCP or unix) on its Worker: non-blocking calls first, then a wait for readiness that holds no buffer.
// A read wait stays armed while its owner does something else, so that a hang-up (client) or a dead idle connection
// (upstream) is seen without a system call per request. Owned by one coroutine at a time; one io thread.
//
// Why not Asio's async_wait: it calls epoll_ctl each time. The wait here is the same edge-triggered reactor operation, but
// one that counts as "used up" when it fires; receive() tracks what is left to read.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>

#include "core/clock.hpp"
#include "core/task.hpp"
#include "net/worker_core.hpp"

namespace intertie::net {

enum class Wake : std::uint8_t { Ready, Timeout, Closed };

class SocketEvents {
 public:
  // The armed read wait ended and no coroutine was waiting: bytes, hang-up (Ready) or the deadline passed (Timeout).
  virtual void on_socket(Wake wake) = 0;

 protected:
  ~SocketEvents() = default;
};

class Socket {
 public:
  enum class Role : std::uint8_t { Stream, Listener };
  static constexpr ssize_t kWouldBlock = -1, kBroken = -2;

  Socket() = default;
  Socket(Worker::Core& worker, int fd,
         Role role = Role::Stream); // takes fd, which must be non-blocking; throws when full
  Socket(Socket&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      close();
      core_ = std::exchange(other.core_, nullptr);
    }
    return *this;
  }
  ~Socket() { close(); }
  explicit operator bool() const { return core_ != nullptr; }
  int fd() const;

  ssize_t receive(char* to, std::size_t most);          // > 0, 0 at the end, kWouldBlock, kBroken
  ssize_t send(const iovec* pieces, std::size_t count); // >= 0, kWouldBlock, kBroken
  bool drained() const; // nothing was left after the last receive() and nothing has arrived since
  bool dry() const;     // stricter: the last receive() said kWouldBlock. A stream's end may hide behind its last bytes
                        // without an event of its own: who needs to know it at once waits when dry, not when drained
                        // (the sweep finds it within 250 ms otherwise)
  void undrained();     // somebody else read from the fd (TLS): don't rely on it
  bool peer_gone() const; // has the peer closed (either half) or reset?

  // When drained: until there is something to read. Several causes may wake it early: always receive() again.
  Task<Wake> readable(TimePoint deadline, Pace pace = Pace::Urgent);
  Task<Wake> writable(TimePoint deadline);
  void on_idle(SocketEvents* events, TimePoint deadline = kNever, Pace pace = Pace::Idle); // arms; null only forgets
  void interrupt(); // whoever waits wakes with Closed
  void shutdown();  // both directions, and interrupt(): the peer learns at once
  void close();

 private:
  struct Core;
  Core* core_ = nullptr;
};

} // namespace intertie::net
