#include <gtest/gtest.h>

#include "provider/health.hpp"

namespace intertie::provider {
namespace {
Failure failure(Fault fault) { return {FailureKind::Unavailable, fault, "x"}; }

TEST(Health, RestsAfterThreeFailuresAndDoubles) {
  Health health;
  FakeClock clock;
  for (int i = 0; i < 2; ++i) health.failed(failure(Fault::Transient), clock.now());
  EXPECT_EQ(health.condition(clock.now()), Condition::Up);
  health.failed(failure(Fault::Transient), clock.now());
  EXPECT_EQ(health.condition(clock.now()), Condition::Resting);
  clock.advance(seconds{1});
  EXPECT_EQ(health.condition(clock.now()), Condition::Up);
  health.failed(failure(Fault::BrokenAnswer), clock.now());
  clock.advance(milliseconds{1500});
  EXPECT_EQ(health.condition(clock.now()), Condition::Resting);
  health.succeeded();
  clock.advance(seconds{1});
  health.failed(failure(Fault::Transient), clock.now());
  EXPECT_EQ(health.condition(clock.now()), Condition::Up);
}
TEST(Health, AuthIsOutAndRateLimitRests) {
  FakeClock clock;
  Health out;
  out.failed(failure(Fault::Auth), clock.now());
  clock.advance(seconds{3600});
  EXPECT_EQ(out.condition(clock.now()), Condition::Out);
  Health limited;
  auto limit = failure(Fault::RateLimit);
  limit.retry_after = seconds{7};
  limited.failed(limit, clock.now());
  clock.advance(seconds{6});
  EXPECT_EQ(limited.condition(clock.now()), Condition::Resting);
  clock.advance(seconds{1});
  EXPECT_EQ(limited.condition(clock.now()), Condition::Up);
  Health fine;
  fine.failed(failure(Fault::Client), clock.now());
  EXPECT_EQ(fine.condition(clock.now()), Condition::Up);
}
} // namespace
} // namespace intertie::provider
