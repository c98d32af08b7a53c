// A thread beside a Worker for what blocks (SQLite, files), so that no connection waits for a disk. offload() runs a
// function there and resumes the coroutine on the Worker; the function takes values, since the request may be gone before
// it ends. Started by the first use, one job after the other, at most kWaiting of them. Belongs to one Worker, dies first.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/result.hpp"
#include "core/task.hpp"
#include "net/worker.hpp"

namespace intertie::net {

class Sideline {
 public:
  static constexpr std::size_t kWaiting = 64;
  explicit Sideline(Worker& worker) : worker_(worker) {}
  ~Sideline(); // waits for the job that runs; those that wait are dropped with their coroutines
  Sideline(const Sideline&) = delete;
  Sideline& operator=(const Sideline&) = delete;

  // Unavailable when too many wait; Internal when `work` throws.
  template <class T>
  Task<Result<T>> offload(std::function<Result<T>()> work) {
    asio::use_awaitable_t<Executor> token;
    return asio::async_initiate<asio::use_awaitable_t<Executor>, void(Result<T>)>(
        [this](auto handler, std::function<Result<T>()> what) {
          put(std::make_unique<JobOf<T, decltype(handler)>>(worker_, std::move(handler), std::move(what)));
        },
        token, std::move(work));
  }

 private:
  struct Job {
    virtual ~Job() = default;
    virtual void run() = 0;
    virtual void refuse(Failure failure) = 0;
  };
  // Owns the waiting coroutine until its result is posted.
  template <class T, class Handler>
  struct JobOf final : Job {
    JobOf(Worker& worker, Handler handler, std::function<Result<T>()> what)
        : handler_(std::move(handler)), work_(std::move(what)), alive_(worker.context().get_executor()) {}
    void run() override {
      Result<T> result = internal("not run");
      try {
        result = work_();
      } catch (...) { result = std::unexpected(escaped(std::current_exception())); }
      finish(std::move(result));
    }
    void refuse(Failure failure) override { finish(std::unexpected(std::move(failure))); }
    void finish(Result<T> result) {
      work_ = nullptr;
      asio::post(alive_.get_executor(),
                 [handler = std::move(handler_), result = std::move(result)]() mutable { handler(std::move(result)); });
    }
    Handler handler_;
    std::function<Result<T>()> work_;
    asio::executor_work_guard<Executor> alive_; // run() goes on until the result is there
  };
  static Failure escaped(const std::exception_ptr& error);
  void put(std::unique_ptr<Job> job);
  void work();

  Worker& worker_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> jobs_; // under mutex_, as is stopping_
  bool stopping_ = false;
  std::thread thread_; // started and joined by the Worker's owner and its thread
};

} // namespace intertie::net
