#include <gtest/gtest.h>

#include "wire/chat.hpp"
#include "wire/repair.hpp"

namespace intertie::wire {
namespace {
constexpr std::string_view kGood =
    "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}}]}\n\n";
constexpr std::string_view kBare = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"data: {\"}}]}\n\n";
constexpr std::string_view kStop =
    "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
constexpr std::string_view kDone = "data: [DONE]\n\n";

std::string joined(auto... parts) { return (std::string(parts) + ...); }
std::string together(std::string_view events) {
  ChatAggregator aggregator;
  EXPECT_TRUE(aggregator.feed(events).has_value()) << events;
  return aggregator.finish("id", "m", 1, {});
}

TEST(Repair, LeavesAWholeStreamAlone) {
  StreamRepair repair("m", 7);
  auto first = std::string(kGood);
  EXPECT_EQ(repair.put_right(first, false).data(), first.data());
  auto rest = joined(kStop, kDone);
  EXPECT_EQ(repair.put_right(rest, true).data(), rest.data());
}
TEST(Repair, AddsIdRoleAndFinish) {
  StreamRepair repair("m", 7);
  std::string out(repair.put_right(std::string(kBare), false));
  out += repair.put_right(joined(kBare, kDone), false);
  EXPECT_NE(out.find("\"role\":\"assistant\""), std::string::npos);
  EXPECT_NE(out.find("\"finish_reason\":\"stop\""), std::string::npos);
  EXPECT_LT(out.find("\"finish_reason\":\"stop\""), out.find("[DONE]"));
  EXPECT_NE(together(out).find("\"content\":\"data: {data: {\""), std::string::npos) << out;
  std::size_t ids = 0;
  for (auto at = out.find("\"id\":\"chatcmpl-"); at != std::string::npos; at = out.find("\"id\":\"chatcmpl-", at + 1))
    ++ids;
  EXPECT_EQ(ids, 4U) << out;
}
TEST(Repair, KeepsTheIdThatUpstreamGave) {
  StreamRepair repair("m", 7);
  (void)repair.put_right(std::string(kGood), false);
  auto end = std::string(repair.put_right(std::string(kDone), false));
  EXPECT_TRUE(end.starts_with("data: {\"id\":\"x\",")) << end;
  EXPECT_TRUE(end.ends_with(kDone)) << end;
}
} // namespace
} // namespace intertie::wire
