// One io thread's own world: its io_context, buffers, idle upstream connections and the coarse timer that sweeps
// deadlines and idle connections. A connection, its requests and its upstream sockets live and die on one Worker: no
// locks, no strands. Timer: every 250 ms while calls are in flight, else every few seconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/call.hpp"
#include "core/clock.hpp"
#include "core/task.hpp"

namespace intertie::net {

// Bytes from the worker's free list: 16 KB plus kPadding behind them, grown on demand. Moves.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer() { drop(); }
  static constexpr std::size_t kSize = 16384;

  void need();                     // makes sure there is a buffer (kSize) …
  void grow(std::size_t capacity); // … or a larger one, keeping the contents: views into it die
  void drop();                     // back to the free list (kSize) or freed
  char* data() { return data_; }
  const char* data() const { return data_; }
  std::size_t size = 0; // bytes in use
  std::size_t capacity() const { return capacity_; }
  char* free_begin() { return data_ + size; }
  std::size_t free_size() const { return capacity_ - size; }

 private:
  char* data_ = nullptr;
  std::size_t capacity_ = 0;
};

class Worker {
 public:
  explicit Worker(const Clock& clock);
  ~Worker();
  asio::io_context& context();
  const Clock& clock() const;

  // While alive, the sweep fires `call.cancellation` with Deadline once its deadline has passed (±250 ms).
  class Watched {
   public:
    Watched(Worker& worker, Call& call);
    ~Watched();
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;

   private:
    friend class Worker;
    Worker& worker_;
    Call& call_;
    Watched* previous_;
    Watched* next_;
  };
  void spawn(Task<void> task);   // into this worker's group: stop() waits for it
  void run();                    // until stop()
  void stop(milliseconds grace); // any thread: refuse new work, cancel what runs after `grace`, end run()

  class Core; // net's own view of a Worker: worker_core.hpp
  Core& core() { return *core_; }

 private:
  friend class Watched;
  std::unique_ptr<Core> core_;
};

} // namespace intertie::net
