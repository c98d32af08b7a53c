#include "core/frames.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace intertie::frames {
namespace {
// Every frame is its own and as large as was asked for, whatever was given back before: ASan and the pattern see to that.
TEST(Frames, AreNobodyElses) {
  std::vector<std::pair<unsigned char*, std::size_t>> held;
  std::set<void*> distinct;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t size : {1U, 127U, 128U, 129U, 1020U, 1024U, 3071U, 3072U, 3073U, 70'000U})
      for (int i = 0; i < 80; ++i) { // more than are kept
        auto* frame = static_cast<unsigned char*>(take(size));
        std::memset(frame, static_cast<int>(held.size() & 0xFF), size);
        EXPECT_TRUE(distinct.insert(frame).second);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame) % alignof(std::max_align_t), 0U);
        held.emplace_back(frame, size);
      }
    for (std::size_t i = 0; i < held.size(); ++i) {
      auto [frame, size] = held[i];
      EXPECT_EQ(frame[0], i & 0xFF);
      EXPECT_EQ(frame[size - 1], i & 0xFF);
      give(frame, size);
    }
    held.clear();
    distinct.clear();
  }
}

TEST(Frames, MayEndOnAnotherThreadAndBehindIts) {
  std::vector<void*> frames;
  std::thread([&] {
    for (int i = 0; i < 100; ++i) frames.push_back(take(500));
  }).join();
  for (void* frame : frames) give(frame, 500);
  std::thread([&] {
    for (auto& frame : frames) frame = take(500);
    for (void* frame : frames) give(frame, 500);
  }).join();
}
} // namespace
} // namespace intertie::frames
