#include <gtest/gtest.h>

#include "wire/filter.hpp"

namespace intertie::wire {
namespace {
constexpr std::string_view kText =
    "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"prompt_progress\\\": \\\"usage\\\":\"}}]}\n\n";
constexpr std::string_view kProgress = "data: {\"choices\":[{\"delta\":{}}],\"prompt_progress\":{\"total\":3}}\r\n\r\n";
constexpr std::string_view kUsage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
constexpr std::string_view kDone = "data: [DONE]\n\n";

std::string join(auto... parts) { return (std::string(parts) + ...); }

TEST(Filter, LeavesWhatTheClientAskedFor) {
  std::string kept;
  auto plain = join(kText, kDone);
  EXPECT_EQ(client_events(plain, true, kept).data(), plain.data());
  EXPECT_EQ(client_events(join(kText, kUsage, kDone), false, kept), join(kText, kUsage, kDone));
}
TEST(Filter, DropsWhatOnlyWeAskedFor) {
  std::string kept;
  EXPECT_EQ(client_events(join(kProgress, kText, kUsage, kDone), true, kept), join(kText, kDone));
  EXPECT_EQ(client_events(std::string(kProgress), false, kept), "");
}
} // namespace
} // namespace intertie::wire
