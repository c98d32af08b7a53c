// The only two ways threads share: Snapshot (immutable value behind an atomic pointer, read without waiting) and Guarded
// (the lock owns what it protects). A Guarded lock is never held across a co_await.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

namespace intertie {
template <class T>
class Snapshot {
 public:
  explicit Snapshot(T value) : value_(std::make_shared<const T>(std::move(value))) {}
  std::shared_ptr<const T> get() const { return value_.load(std::memory_order_acquire); }
  void set(T value) {
    value_.store(std::make_shared<const T>(std::move(value)), std::memory_order_release);
    version_.fetch_add(1, std::memory_order_release);
  }
  // Cheap test for readers that keep a copy: changes with every set().
  unsigned version() const { return version_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::shared_ptr<const T>> value_;
  std::atomic<unsigned> version_{0};
};

template <class T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}
  template <class F>
  decltype(auto) with(F&& f) {
    std::lock_guard lock(mutex_);
    return std::forward<F>(f)(value_);
  }
  template <class F>
  decltype(auto) with(F&& f) const {
    std::lock_guard lock(mutex_);
    return std::forward<F>(f)(value_);
  }

 private:
  mutable std::mutex mutex_;
  T value_{};
};
} // namespace intertie
