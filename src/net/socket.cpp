#include "net/socket.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <boost/asio/detail/reactor.hpp>
#include <boost/asio/detail/reactor_op.hpp>

#include "net/wait.hpp"

namespace intertie::net {
using asio::detail::reactor;
using asio::detail::reactor_op;

// Lives as long as its Socket or an armed operation, whichever is longer.
struct Socket::Core final : Swept {
  struct Operation final : reactor_op {
    Operation(Core& core, int type)
        : reactor_op({}, &Operation::perform, &Operation::completed), core_(core), type_(type) {
      cancellation_key_ = this;
    }
    // Fires once per edge; the owner then reads until nothing is left.
    static status perform(reactor_op*) { return done_and_exhausted; }
    static void completed(void* owner, asio::detail::operation* base, const boost::system::error_code&, std::size_t) {
      auto& self = *static_cast<Operation*>(base);
      Core& core = self.core_;
      self.armed_ = false;
      Wake wake = !self.ec_ ? Wake::Ready : std::exchange(self.cancelled_as_, Wake::Closed);
      self.ec_ = {};
      self.cancelled_as_ = Wake::Closed;
      if (self.type_ == reactor::read_op) core.drained_ = core.dry_ = false;
      if (owner == nullptr) self.waiter_.drop();
      else if (self.waiter_) self.waiter_.wake(wake);
      else if (self.type_ == reactor::read_op && core.events_ != nullptr) core.events_->on_socket(wake);
      core.release();
    }
    void arm(TimePoint deadline, Pace pace) {
      deadline_ = deadline;
      pace_ = deadline == kNever ? Pace::Off : pace;
      if (pace_ == Pace::Urgent) core_.worker_.want_fast_sweep();
      else if (pace_ == Pace::Idle) core_.worker_.want_slow_sweep();
      if (armed_) return;
      armed_ = true;
      ++core_.references_;
      core_.reactor_.start_op(type_, core_.fd_, core_.registration_, this, false, true);
    }
    void cancel(Wake as) {
      if (!armed_) return;
      cancelled_as_ = as;
      core_.reactor_.cancel_ops_by_key(core_.fd_, core_.registration_, type_, this);
    }
    Core& core_;
    int type_;
    bool armed_ = false;
    Pace pace_ = Pace::Off;
    Wake cancelled_as_ = Wake::Closed;
    TimePoint deadline_ = kNever;
    Waiter<Wake> waiter_;
  };

  Core(Worker::Core& worker, int fd, Role role)
      : worker_(worker), reactor_(asio::use_service<reactor>(worker.context)), fd_(fd), role_(role) {
    reactor_.init_task();
    if (int error = reactor_.register_descriptor(fd, registration_); error != 0) {
      ::close(fd);
      throw std::system_error(error, std::system_category(), "epoll");
    }
    worker.add(*this);
  }
  void release() {
    if (--references_ == 0) delete this;
  }
  void close() {
    unlink();
    events_ = nullptr;
    reactor_.deregister_descriptor(fd_, registration_, true);
    ::close(fd_);
    reactor_.cleanup_descriptor_data(registration_);
    fd_ = -1;
    release();
  }
  Pace sweep(TimePoint now) override {
    Pace pace = Pace::Off;
    if (write_.armed_) {
      pace = write_.pace_;
      if (write_.deadline_ <= now) write_.cancel(Wake::Timeout);
    }
    if (read_.armed_) {
      pace = std::max(pace, read_.pace_);
      bool late = read_.deadline_ <= now;
      bool there = (late || waited_) && !probed_ && role_ == Role::Stream && probe();
      if (late && !there) read_.cancel(Wake::Timeout);
      waited_ = true;
    }
    return pace;
  }
  // The end of a stream that arrived together with its last bytes brings no edge of its own: look once per wait, and in any
  // case before it is called too long.
  bool probe() {
    probed_ = true;
    char byte;
    ssize_t got = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    bool there = got >= 0 || (errno != EAGAIN && errno != EINTR);
    if (there) read_.cancel(Wake::Ready);
    return there;
  }

  Worker::Core& worker_;
  reactor& reactor_;
  reactor::per_descriptor_data registration_{};
  int fd_;
  Role role_;
  unsigned references_ = 1;
  bool drained_ = false;
  bool dry_ = false;
  bool waited_ = false;
  bool probed_ = false;
  SocketEvents* events_ = nullptr;
  Operation read_{*this, reactor::read_op};
  Operation write_{*this, reactor::write_op};
};

Socket::Socket(Worker::Core& worker, int fd, Role role) : core_(new Core(worker, fd, role)) {}

int Socket::fd() const { return core_->fd_; }

ssize_t Socket::receive(char* to, std::size_t most) {
  core_->probed_ = core_->waited_ = false;
  for (;;) {
    ssize_t got = ::recv(core_->fd_, to, most, MSG_DONTWAIT);
    if (got >= 0) {
      core_->drained_ = got > 0 && static_cast<std::size_t>(got) < most;
      core_->dry_ = false;
      return got;
    }
    if (errno == EINTR) continue;
    core_->drained_ = core_->dry_ = true;
    return errno == EAGAIN ? kWouldBlock : kBroken;
  }
}

ssize_t Socket::send(const iovec* pieces, std::size_t count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = count;
  for (;;) {
    ssize_t sent = ::sendmsg(core_->fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    return errno == EAGAIN ? kWouldBlock : kBroken;
  }
}

bool Socket::drained() const { return core_->drained_; }
bool Socket::dry() const { return core_->dry_; }
void Socket::undrained() { core_->drained_ = core_->dry_ = core_->probed_ = core_->waited_ = false; }

bool Socket::peer_gone() const {
  pollfd query{core_->fd_, POLLRDHUP, 0};
  return ::poll(&query, 1, 0) > 0 && (query.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

Task<Wake> Socket::readable(TimePoint deadline, Pace pace) {
  core_->read_.arm(deadline, pace);
  return core_->read_.waiter_.wait();
}

Task<Wake> Socket::writable(TimePoint deadline) {
  core_->write_.arm(deadline, Pace::Urgent);
  return core_->write_.waiter_.wait();
}

void Socket::on_idle(SocketEvents* events, TimePoint deadline, Pace pace) {
  core_->events_ = events;
  if (events != nullptr) core_->read_.arm(deadline, pace);
}

void Socket::interrupt() {
  core_->read_.cancel(Wake::Closed);
  core_->write_.cancel(Wake::Closed);
}

void Socket::shutdown() {
  ::shutdown(core_->fd_, SHUT_RDWR);
  interrupt();
}

void Socket::close() {
  if (core_ != nullptr) std::exchange(core_, nullptr)->close();
}
} // namespace intertie::net
