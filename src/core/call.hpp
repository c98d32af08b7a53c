// One request's identity, deadline and cancellation, handed down by reference and never stored beyond the request.
// Everything here belongs to the io thread of the connection; nothing is locked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/id.hpp"

namespace intertie {

enum class CancelReason : std::uint8_t { None, ClientGone, Deadline, Stopping };

// Fires at most once. Whatever waits registers an OnCancel; the innermost one runs (it closes the socket it waits on).
class Cancellation {
 public:
  bool cancelled() const { return reason_ != CancelReason::None; }
  CancelReason reason() const { return reason_; }
  void fire(CancelReason reason) {
    if (cancelled()) return;
    reason_ = reason;
    if (hook_ != nullptr) hook_(argument_);
  }

 private:
  friend class OnCancel;
  using Hook = void (*)(void*);
  CancelReason reason_ = CancelReason::None;
  Hook hook_ = nullptr;
  void* argument_ = nullptr;
};

// While alive, `hook(argument)` runs when `cancellation` fires (not when it has already fired: check first). Nests.
class OnCancel {
 public:
  OnCancel(Cancellation& cancellation, Cancellation::Hook hook, void* argument)
      : cancellation_(cancellation), hook_(cancellation.hook_), argument_(cancellation.argument_) {
    cancellation.hook_ = hook;
    cancellation.argument_ = argument;
  }
  OnCancel(const OnCancel&) = delete;
  OnCancel& operator=(const OnCancel&) = delete;
  ~OnCancel() {
    cancellation_.hook_ = hook_;
    cancellation_.argument_ = argument_;
  }

 private:
  Cancellation& cancellation_;
  Cancellation::Hook hook_;
  void* argument_;
};

// A deadline is made once per request and inherited by every call beneath it.
struct Call {
  CallId id;
  const Clock& clock;
  TimePoint started;
  TimePoint deadline;
  Cancellation cancellation{};
  std::string_view caller{}; // who asks: "cli", or the name of the client's user agent; for the Receipt

  milliseconds left() const {
    auto now = clock.now();
    return now >= deadline ? milliseconds{0} : std::chrono::duration_cast<milliseconds>(deadline - now);
  }
};
} // namespace intertie
