#include <gtest/gtest.h>

#include "engine/metrics.hpp"

namespace intertie::engine {
namespace {
TEST(Metrics, CountsWhereItRan) {
  Metrics metrics;
  ledger::Receipt receipt;
  receipt.usage = {.prompt_tokens = 7, .completion_tokens = 5, .cached_tokens = 0, .measured = true};
  receipt.total_us = 3100;
  metrics.count(receipt, ledger::Outcome::Answered, Place::Device);
  auto text = metrics.render();
  EXPECT_NE(text.find("intertie_requests_total{place=\"device\",outcome=\"answered\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("intertie_requests_total{place=\"cloud\",outcome=\"answered\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("gen_ai_client_token_usage_total{place=\"device\",gen_ai_token_type=\"input\"} 7\n"),
            std::string::npos);
  EXPECT_NE(text.find("gen_ai_server_request_duration_seconds_count 1\n"), std::string::npos);
  EXPECT_NE(text.find("gen_ai_server_request_duration_seconds_bucket{le=\"0.005\"} 1\n"), std::string::npos);
}
TEST(Metrics, CountsSecondAttempts) {
  Metrics metrics;
  metrics.retried(false, 1, true);
  metrics.retried(false, 2, false);
  metrics.retried(true, 2, false);
  metrics.retried(true, 2, false);
  auto text = metrics.render();
  EXPECT_NE(text.find("intertie_retries_total{result=\"answered\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("intertie_retries_total{result=\"failed\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("intertie_retries_total{result=\"over_budget\"} 1\n"), std::string::npos);
}
} // namespace
} // namespace intertie::engine
