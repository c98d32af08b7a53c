#include <gtest/gtest.h>

#include "core/call.hpp"
#include "core/json.hpp"
#include "core/place.hpp"
#include "core/text.hpp"

namespace intertie {
namespace {
TEST(Id, RoundTripsAndSortsByTime) {
  auto early = make_call_id(WallTime{milliseconds{1'800'000'000'000}});
  auto late = make_call_id(WallTime{milliseconds{1'800'000'000'001}});
  EXPECT_LT(to_string(early), to_string(late));
  EXPECT_EQ(parse_call_id(to_string(early)), early);
  EXPECT_EQ(parse_call_id("short"), std::nullopt);
  EXPECT_EQ(parse_call_id("000000000000o")->value, 0U);
}
TEST(Json, StringsAreAlwaysValid) {
  EXPECT_EQ(json::quoted("a\"\\\n\x01"), R"("a\"\\\n\u0001")");
  EXPECT_EQ(json::quoted("\xFFz\xC3\xA4"), "\"\xEF\xBF\xBDz\xC3\xA4\"");
  EXPECT_EQ(json::unescape(R"(a\n\u00e4\ud83d\ude00\ud800x\/)"), "a\n\xC3\xA4\xF0\x9F\x98\x80\xEF\xBF\xBDx/");
  EXPECT_EQ(json::Object{}.add("a", 1).add("b", "x").add("c", true).null("d").str(),
            R"({"a":1,"b":"x","c":true,"d":null})");
  EXPECT_EQ(json::Object{}.str(), "{}");
}
TEST(Text, SuggestsWhatWasMeant) {
  std::vector<std::string> models{"smollm2-135m", "gpt-4o-mini", "auto"};
  EXPECT_EQ(text::suggest("smolm2-135m", models).at(0), "smollm2-135m");
  EXPECT_EQ(text::suggest("gpt-4o", models).at(0), "gpt-4o-mini");
  EXPECT_TRUE(text::suggest("entirely-else", models).empty());
  EXPECT_EQ(text::edit_distance("abcd", "abdc"), 1U);
}
TEST(Text, ReadsAndWritesUnits) {
  EXPECT_EQ(text::human_bytes(98'000'000), "98 MB");
  EXPECT_EQ(text::parse_bytes("4GiB"), 4294967296U);
  EXPECT_EQ(text::parse_bytes("x"), std::nullopt);
  EXPECT_FALSE(text::valid_utf8("\xED\xA0\x80"));
  EXPECT_TRUE(text::valid_utf8("\xF0\x9F\x98\x80"));
}
TEST(Cancellation, RunsInnermostHookOnce) {
  Cancellation cancellation;
  int outer = 0, inner = 0;
  OnCancel a(cancellation, [](void* p) { ++*static_cast<int*>(p); }, &outer);
  {
    OnCancel b(cancellation, [](void* p) { ++*static_cast<int*>(p); }, &inner);
    cancellation.fire(CancelReason::ClientGone);
    cancellation.fire(CancelReason::Deadline);
  }
  EXPECT_EQ(inner, 1);
  EXPECT_EQ(outer, 0);
  EXPECT_EQ(cancellation.reason(), CancelReason::ClientGone);
}
TEST(Place, NamesRoundTrip) {
  EXPECT_EQ(parse_action("local-only"), Action::LocalOnly);
  EXPECT_EQ(parse_class(to_string(DataClass::C4)), DataClass::C4);
}
} // namespace
} // namespace intertie
