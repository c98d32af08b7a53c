#include "provider/retry.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace intertie::provider {
namespace {
constexpr milliseconds kPlenty{30'000};

Failure answered(int status, std::optional<seconds> after = {}) {
  bool limit = status == 429 || status == 529;
  return {.kind = limit ? FailureKind::RateLimited : FailureKind::UpstreamRefused,
          .fault = limit ? Fault::RateLimit : Fault::Transient,
          .message = "x",
          .retry_after = after,
          .upstream_status = status};
}
Failure unanswered(FailureKind kind, Fault fault = Fault::Transient) {
  return {.kind = kind, .fault = fault, .message = "x"};
}

TEST(RetryBudget, IsATenthOfTheRequests) {
  FakeClock clock;
  RetryBudget budget;
  int retries = 0;
  for (int i = 0; i < 1000; ++i) {
    budget.asked();
    if (budget.take(clock.now())) ++retries;
    clock.advance(milliseconds{10});
  }
  EXPECT_GE(retries, 100);
  EXPECT_LE(retries, 101); // and the one it started with
}
TEST(RetryBudget, SavesUpTenAndNoMore) {
  FakeClock clock;
  RetryBudget budget;
  for (int i = 0; i < 100'000; ++i) budget.asked();
  int retries = 0;
  while (budget.take(clock.now())) ++retries;
  EXPECT_EQ(retries, 10);
}
TEST(RetryBudget, WhoAsksSeldomMayRetryOnceAMinute) {
  FakeClock clock;
  RetryBudget budget;
  EXPECT_TRUE(budget.take(clock.now()));
  clock.advance(seconds{59});
  EXPECT_FALSE(budget.take(clock.now()));
  clock.advance(seconds{1});
  EXPECT_TRUE(budget.take(clock.now()));
  EXPECT_FALSE(budget.take(clock.now()));
}

TEST(RetryWait, KnowsWhatPasses) {
  struct Case {
    const char* what;
    Failure failure;
    bool retried;
  };
  const Case cases[] = {
      {"connection refused", unanswered(FailureKind::Unavailable), true},
      {"reset before a byte", unanswered(FailureKind::UpstreamBroken), true},
      {"garbage", unanswered(FailureKind::UpstreamBroken, Fault::BrokenAnswer), false},
      {"silence", unanswered(FailureKind::Timeout), false},
      {"cancelled", unanswered(FailureKind::Cancelled, Fault::Client), false},
      {"a field it can't take", unanswered(FailureKind::Unsupported), false},
      {"our own policy", unanswered(FailureKind::Unavailable, Fault::OurPolicy), false},
      {"500", answered(500), false},
      {"502", answered(502), true},
      {"503", answered(503), true},
      {"503, soon", answered(503, seconds{1}), true},
      {"503, later", answered(503, seconds{3}), false},
      {"504", answered(504), true},
      {"529", answered(529), true},
      {"429", answered(429), false},
      {"429, soon", answered(429, seconds{1}), true},
      {"429, later", answered(429, seconds{30}), false},
  };
  for (const auto& one : cases) EXPECT_EQ(retry_wait(one.failure, kPlenty, 7).has_value(), one.retried) << one.what;
  auto certificate = unanswered(FailureKind::Unavailable);
  certificate.code = "tls_failed";
  EXPECT_FALSE(retry_wait(certificate, kPlenty, 7));
  Failure quota = answered(429, seconds{1});
  quota.fault = Fault::Auth;
  EXPECT_FALSE(retry_wait(quota, kPlenty, 7));
}
TEST(RetryWait, IsSpreadOutAndHonoursRetryAfter) {
  milliseconds least = kPlenty, most{0};
  for (std::uint64_t id = 0; id < 500; ++id) {
    auto wait = retry_wait(answered(503), kPlenty, id).value();
    EXPECT_LT(wait, kBackOff);
    least = std::min(least, wait);
    most = std::max(most, wait);
    EXPECT_GE(retry_wait(answered(429, seconds{1}), kPlenty, id).value(), seconds{1});
  }
  EXPECT_LT(least, milliseconds{20});
  EXPECT_GT(most, milliseconds{180});
}
TEST(RetryWait, FitsTheTimeOfTheLeg) {
  EXPECT_FALSE(retry_wait(answered(429, seconds{1}), milliseconds{1000}, 7));
  EXPECT_TRUE(retry_wait(answered(429, seconds{1}), milliseconds{1300}, 7));
  EXPECT_FALSE(retry_wait(answered(503), milliseconds{0}, 7));
}
} // namespace
} // namespace intertie::provider
