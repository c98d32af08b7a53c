#include "core/frames.hpp"

#include <array>
#include <cstdint>
#include <new>

namespace intertie::frames {
namespace {
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define INTERTIE_PLAIN_FRAMES
#endif
#endif

constexpr std::size_t kStep = 128;
constexpr std::size_t kClasses = 24; // up to 3 KB; larger ones are rare
constexpr std::uint8_t kKept = 64;   // per class and thread: a request needs ten frames of as many sizes, some 10 KB

struct Free {
  Free* next;
};
class Pool {
 public:
  constexpr Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    for (auto& list : lists_)
      while (Free* frame = list.first) {
        list.first = frame->next;
        ::operator delete(frame);
      }
    for (auto& list : lists_) list.count = kKept; // whatever ends later than its thread's pool isn't kept
  }
  void* take(std::size_t at) {
    auto& list = lists_[at];
    Free* frame = list.first;
    if (frame == nullptr) return ::operator new((at + 1) * kStep);
    list.first = frame->next;
    --list.count;
    return frame;
  }
  void give(void* frame, std::size_t at) noexcept {
    auto& list = lists_[at];
    if (list.count == kKept) return ::operator delete(frame);
    list.first = ::new (frame) Free{list.first};
    ++list.count;
  }

 private:
  struct List {
    Free* first = nullptr;
    std::uint8_t count = 0;
  };
  std::array<List, kClasses> lists_{};
};
[[maybe_unused]] constinit thread_local Pool pool;
} // namespace

#ifdef INTERTIE_PLAIN_FRAMES
void* take(std::size_t size) { return ::operator new(size); }
void give(void* frame, std::size_t) noexcept { ::operator delete(frame); }
#else
void* take(std::size_t size) {
  auto at = (size - 1) / kStep;
  return at < kClasses ? pool.take(at) : ::operator new(size);
}
void give(void* frame, std::size_t size) noexcept {
  auto at = (size - 1) / kStep;
  if (at < kClasses) pool.give(frame, at);
  else ::operator delete(frame);
}
#endif
} // namespace intertie::frames
