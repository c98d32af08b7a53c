#include "net/sideline.hpp"

#include <csignal>

#include <pthread.h>

#include "net/worker_core.hpp"

namespace intertie::net {

Sideline::~Sideline() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Failure Sideline::escaped(const std::exception_ptr& error) {
  Worker::Core::log_escaped(error, "sideline");
  return {.kind = FailureKind::Internal, .fault = Fault::Ours, .message = "something went wrong here; see the log"};
}

void Sideline::put(std::unique_ptr<Job> job) {
  std::unique_lock lock(mutex_);
  if (jobs_.size() >= kWaiting) {
    lock.unlock();
    return job->refuse({.kind = FailureKind::Unavailable,
                        .fault = Fault::Ours,
                        .message = "too many such requests are waiting already: try again in a moment",
                        .code = "busy",
                        .param = {},
                        .retry_after = seconds{1}});
  }
  jobs_.push_back(std::move(job));
  lock.unlock();
  if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  wake_.notify_one();
}

void Sideline::work() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr); // signals are main's
  pthread_setname_np(pthread_self(), "sideline");
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job->run();
  }
}

} // namespace intertie::net
