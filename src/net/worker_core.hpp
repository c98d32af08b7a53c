// What Server, Client and Socket need from their Worker: the io_context, the sweep and the order of stopping.
// The sweep is one timer: 250 ms while anything urgent waits, every few seconds while only idle sockets exist, off when
// there are none. Everything here runs on the worker's thread except request_stop().
#pragma once

#include <cstdint>
#include <exception>
#include <optional>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "net/worker.hpp"

namespace intertie::net {

inline constexpr TimePoint kNever = TimePoint::max();
inline constexpr milliseconds kFastSweep{250};
inline constexpr seconds kSlowSweep{5};

// An intrusive, doubly linked list node: links itself out when it dies.
template <class T>
class Linked {
 public:
  Linked() = default;
  Linked(const Linked&) = delete;
  Linked& operator=(const Linked&) = delete;
  ~Linked() { unlink(); }
  void link(Linked*& head) {
    head_ = &head;
    next_ = head;
    previous_ = nullptr;
    if (head != nullptr) head->previous_ = this;
    head = this;
  }
  void unlink() {
    if (head_ == nullptr) return;
    if (previous_ != nullptr) previous_->next_ = next_;
    else *head_ = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    head_ = nullptr;
  }
  bool linked() const { return head_ != nullptr; }
  Linked* next() const { return next_; }
  T& self() { return static_cast<T&>(*this); }

 private:
  Linked** head_ = nullptr;
  Linked* previous_ = nullptr;
  Linked* next_ = nullptr;
};

// How soon a wait wants the sweep's next look: never, within seconds, within 250 ms.
enum class Pace : std::uint8_t { Off, Idle, Urgent };

// Something with deadlines. sweep() may not resume coroutines or unlink others: it cancels, which posts.
class Swept : public Linked<Swept> {
 public:
  virtual Pace sweep(TimePoint now) = 0;

 protected:
  ~Swept() = default;
};

// Something that must let go when the worker stops.
class Stopped : public Linked<Stopped> {
 public:
  virtual void on_stop() = 0; // accept nothing more, close what is idle
  virtual void on_kill() = 0; // cut what still runs

 protected:
  ~Stopped() = default;
};

class Worker::Core {
 public:
  explicit Core(const Clock& clock);
  ~Core();
  void want_fast_sweep() {
    wanted_fast_ = true;
    if (pace_ != kFastSweep) set_pace(kFastSweep);
  }
  void want_slow_sweep() {
    if (pace_ == milliseconds{0}) set_pace(kSlowSweep);
  }
  void add(Swept& swept) { swept.link(swept_); }
  void add(Stopped& member) { member.link(members_); }
  void request_stop(milliseconds grace);
  bool stopping() const { return stopping_; }
  TimePoint now() const { return clock.coarse(); } // for deadlines
  static void log_escaped(std::exception_ptr error, const char* where);

  const Clock& clock;
  Watched* watched = nullptr;

 private:
  friend class Worker;
  void set_pace(milliseconds pace);
  void tick();
  void stop(milliseconds grace);
  void kill();
  void cut();
  using Timer =
      asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

  Linked<Swept>* swept_ = nullptr;
  Linked<Stopped>* members_ = nullptr;
  milliseconds pace_{0}; // 0: the timer is off
  bool wanted_fast_ = false;
  bool stopping_ = false;
  bool killed_ = false;        // calls cancelled
  bool cut_ = false;           // connections closed
  TimePoint kill_at_ = kNever; // on the steady clock: stopping is about real time

 public:
  asio::io_context context{1}; // last: its end destroys whatever still waits, which unlinks itself above

 private:
  std::optional<Timer> timer_;
  std::optional<asio::executor_work_guard<Executor>> running_;
};

} // namespace intertie::net
