// A pull-only stream: next() until nullopt. Destroying it cancels upstream at once. One reader, one thread, no queue.
// Source<T> is one of the three virtual seams.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "core/result.hpp"
#include "core/task.hpp"

namespace intertie {
template <class T>
class Source {
 public:
  virtual ~Source() = default;
  virtual Task<Result<std::optional<T>>> next() = 0;
};

template <class T>
class Stream {
 public:
  explicit Stream(std::unique_ptr<Source<T>> source) : source_(std::move(source)) {}
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&&) noexcept = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  Task<Result<std::optional<T>>> next() { return source_->next(); }

 private:
  std::unique_ptr<Source<T>> source_;
};
} // namespace intertie
