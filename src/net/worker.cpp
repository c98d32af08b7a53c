#include "net/worker.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include "core/ask.hpp"
#include "core/log.hpp"
#include "net/worker_core.hpp"

namespace intertie::net {
namespace {
// A thread's free list of standard buffers: 2 MB in a burst, in which each call holds one or two. glibc would trim its
// heap and fault the pages in again at each turn. What a lull doesn't need is given back.
constexpr std::size_t kKept = 128, kKeptInLull = 8;
struct FreeList {
  char* blocks[kKept];
  std::size_t count;
  bool closed;
};
thread_local constinit FreeList free_list{};
void give_back(std::size_t kept) {
  while (free_list.count > kept) std::free(free_list.blocks[--free_list.count]);
}

struct FreeListEnd {
  bool touched = false;
  ~FreeListEnd() {
    give_back(0);
    free_list.closed = true;
  }
};
thread_local FreeListEnd free_list_end;

char* allocate(std::size_t capacity) {
  auto* data = static_cast<char*>(std::malloc(capacity + kPadding));
  if (data == nullptr) throw std::bad_alloc{};
  std::memset(data + capacity, 0, kPadding);
  return data;
}
} // namespace

Buffer::Buffer(Buffer&& other) noexcept
    : size(std::exchange(other.size, 0)),
      data_(std::exchange(other.data_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  drop();
  size = std::exchange(other.size, 0);
  data_ = std::exchange(other.data_, nullptr);
  capacity_ = std::exchange(other.capacity_, 0);
  return *this;
}

void Buffer::need() {
  if (data_ != nullptr) return;
  data_ = free_list.count > 0 ? free_list.blocks[--free_list.count] : allocate(kSize);
  capacity_ = kSize;
  size = 0;
}

void Buffer::grow(std::size_t capacity) {
  if (data_ == nullptr && capacity <= kSize) return need();
  if (capacity <= capacity_) return;
  char* data = allocate(capacity);
  std::size_t used = size;
  if (data_ != nullptr && used > 0) std::memcpy(data, data_, used);
  drop();
  data_ = data;
  capacity_ = capacity;
  size = used;
}

void Buffer::drop() {
  if (data_ == nullptr) return;
  if (capacity_ == kSize && free_list.count < kKept && !free_list.closed) {
    free_list_end.touched = true; // makes sure the list is emptied when the thread ends
    free_list.blocks[free_list.count++] = data_;
  } else {
    std::free(data_);
  }
  data_ = nullptr;
  size = capacity_ = 0;
}

Worker::Core::Core(const Clock& clock_) : clock(clock_) {
  std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes to the fd without MSG_NOSIGNAL
  timer_.emplace(context.get_executor());
  running_.emplace(context.get_executor());
}

Worker::Core::~Core() = default;

void Worker::Core::set_pace(milliseconds pace) {
  pace_ = pace;
  if (pace == milliseconds{0}) {
    timer_->cancel();
    return;
  }
  timer_->expires_after(pace);
  timer_->async_wait([this](const boost::system::error_code& error) {
    if (!error) tick();
  });
}

void Worker::Core::tick() {
  Pace pace = std::exchange(wanted_fast_, false) ? Pace::Urgent : Pace::Off;
  if (stopping_ && std::chrono::steady_clock::now() >= kill_at_) {
    if (killed_ && !cut_) {
      cut();
    } else if (killed_) {
      log::warn("stopping: some work did not end in time and was dropped");
      context.stop();
      return;
    } else {
      kill();
    }
  }
  TimePoint now = clock.now();
  for (Watched* watch = watched; watch != nullptr;) {
    Watched* next = watch->next_;
    if (watch->call_.deadline <= now) watch->call_.cancellation.fire(CancelReason::Deadline);
    watch = next;
    pace = Pace::Urgent;
  }
  for (auto* swept = swept_; swept != nullptr;) {
    auto* next = swept->next();
    pace = std::max(pace, swept->self().sweep(now));
    swept = next;
  }
  if (stopping_ && swept_ != nullptr) pace = Pace::Urgent;
  if (pace != Pace::Urgent) give_back(kKeptInLull);
  set_pace(pace == Pace::Urgent ? kFastSweep : pace == Pace::Idle ? milliseconds{kSlowSweep} : milliseconds{0});
}

void Worker::Core::request_stop(milliseconds grace) {
  asio::post(context, [this, grace] { stop(grace); });
}

void Worker::Core::stop(milliseconds grace) {
  if (stopping_) return;
  stopping_ = true;
  running_.reset();
  kill_at_ = std::chrono::steady_clock::now() + grace;
  for (auto* member = members_; member != nullptr;) {
    auto* next = member->next();
    member->self().on_stop();
    member = next;
  }
  if (grace <= milliseconds{0}) kill();
  // Soon, not at the next tick: when nothing runs any more, run() ends with it.
  wanted_fast_ = false;
  pace_ = milliseconds{10};
  timer_->expires_after(pace_);
  timer_->async_wait([this](const boost::system::error_code& error) {
    if (!error) tick();
  });
}

void Worker::Core::kill() {
  // What runs is told first and gets a moment to say so to its client; only then are the connections cut.
  killed_ = true;
  kill_at_ = std::chrono::steady_clock::now() + milliseconds{500};
  for (Watched* watch = watched; watch != nullptr;) {
    Watched* next = watch->next_;
    watch->call_.cancellation.fire(CancelReason::Stopping);
    watch = next;
  }
}

void Worker::Core::cut() {
  cut_ = true;
  kill_at_ = std::chrono::steady_clock::now() + seconds{2};
  for (auto* member = members_; member != nullptr;) {
    auto* next = member->next();
    member->self().on_kill();
    member = next;
  }
}

void Worker::Core::log_escaped(std::exception_ptr error, const char* where) {
  if (!error) return;
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& exception) {
    log::error("{}: {} (a bug, please report it)", where, exception.what());
  } catch (...) { log::error("{}: an unknown exception (a bug, please report it)", where); }
}

Worker::Worker(const Clock& clock) : core_(std::make_unique<Core>(clock)) {}
Worker::~Worker() = default;
asio::io_context& Worker::context() { return core_->context; }
const Clock& Worker::clock() const { return core_->clock; }

Worker::Watched::Watched(Worker& worker, Call& call)
    : worker_(worker), call_(call), previous_(nullptr), next_(worker.core_->watched) {
  if (next_ != nullptr) next_->previous_ = this;
  worker.core_->watched = this;
  worker.core_->want_fast_sweep();
}

Worker::Watched::~Watched() {
  if (previous_ != nullptr) previous_->next_ = next_;
  else worker_.core_->watched = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

void Worker::spawn(Task<void> task) {
  asio::co_spawn(core_->context.get_executor(), std::move(task),
                 [](std::exception_ptr error) { Core::log_escaped(error, "worker"); });
}

void Worker::run() {
  for (;;) {
    try {
      core_->context.run();
      return;
    } catch (...) { Core::log_escaped(std::current_exception(), "worker"); }
  }
}

void Worker::stop(milliseconds grace) { core_->request_stop(grace); }
} // namespace intertie::net
