#include "local/classify.hpp"

#include <gtest/gtest.h>

#include <csignal>

namespace intertie::local {
namespace {
Verdict left(std::string_view log) { return classify_exit({false, 1}, log, {}); }

TEST(Classify, KnownMessagesAreForAPersonToMend) {
  EXPECT_EQ(left("x\ngguf: invalid magic characters\n").remedy, Remedy::Never);
  EXPECT_EQ(left("tensor 'a' data is not within the file bounds, model is corrupted or incomplete").remedy,
            Remedy::Never);
  EXPECT_EQ(left("failed to allocate buffer for kv cache").remedy, Remedy::Never);
  EXPECT_NE(left("failed to allocate buffer for kv cache").reason.find("smaller `context`"), std::string::npos);
  EXPECT_EQ(left("tensor 'output.weight' not found").remedy, Remedy::Never);
  EXPECT_EQ(left("couldn't bind HTTP server socket").remedy, Remedy::Later);
  EXPECT_EQ(left("something else: error 7").remedy, Remedy::Later);
  EXPECT_NE(left("something else: error 7").reason.find("error 7"), std::string::npos);
}
TEST(Classify, SignalsAreTransient) {
  EXPECT_EQ(classify_exit({true, SIGSEGV}, "", {.was_ready = true}).remedy, Remedy::Later);
  EXPECT_EQ(classify_exit({true, SIGKILL}, "", {.memory_kill = false}).remedy, Remedy::SmallerContext);
  EXPECT_EQ(classify_exit({true, SIGKILL}, "", {.was_ready = true, .memory_kill = true}).remedy,
            Remedy::SmallerContext);
  EXPECT_EQ(classify_exit({true, SIGKILL}, "", {.was_ready = true, .memory_kill = false}).remedy, Remedy::Later);
  EXPECT_EQ(classify_exit({true, SIGKILL}, "", {.killed_by_us = true}).remedy, Remedy::Later);
}
TEST(Classify, ReasonsAreFreeOfControlCharacters) {
  EXPECT_EQ(left("\x1b[31merror: invalid magic\x07\n").reason.find('\x1b'), std::string::npos);
}
TEST(BackoffTest, DoublesAndBreaks) {
  Backoff backoff;
  TimePoint now{};
  for (int delay : {500, 1000, 2000, 4000}) {
    backoff.failed(now);
    EXPECT_EQ(backoff.retry_at() - now, milliseconds{delay});
    EXPECT_FALSE(backoff.open(now));
    now = backoff.retry_at();
  }
  backoff.failed(now);
  EXPECT_TRUE(backoff.open(now));
  EXPECT_EQ(backoff.retry_at(), TimePoint{} + seconds{120});
  EXPECT_FALSE(backoff.open(TimePoint{} + seconds{121}));
  backoff.succeeded();
  backoff.failed(now + seconds{300});
  EXPECT_EQ(backoff.retry_at(), now + seconds{300} + milliseconds{500});
}
} // namespace
} // namespace intertie::local
