// One coroutine waiting for one value that somebody else brings: `co_await waiter.wait()` here, `waiter.wake(value)` there.
// wake() resumes the coroutine before it returns, so whoever calls it must not touch anything the coroutine may destroy.
// wait() is for a value that is not there yet; at most one waits at a time. One io thread.
#pragma once

#include <optional>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/task.hpp"

namespace intertie::net {

template <class T>
class Waiter {
  using Token = asio::use_awaitable_t<Executor>;
  using Continuation = typename asio::async_result<Token, void(T)>::handler_type;

 public:
  Task<T> wait() {
    Token token;
    return asio::async_initiate<Token, void(T)>(
        [this](Continuation continuation) { continuation_.emplace(std::move(continuation)); }, token);
  }
  explicit operator bool() const { return continuation_.has_value(); }
  void wake(T value) {
    Continuation continuation = std::move(*continuation_);
    continuation_.reset();
    continuation(std::move(value));
  }
  void drop() { // destroys the waiting coroutine: only when the whole io_context dies
    if (!continuation_) return;
    Continuation continuation = std::move(*continuation_);
    continuation_.reset();
  }

 private:
  std::optional<Continuation> continuation_;
};

} // namespace intertie::net
