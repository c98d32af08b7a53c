#include <gtest/gtest.h>

#include "wire/fields.hpp"

namespace intertie::wire {
namespace {
std::string edited(std::string_view body, const BodyEdits& edits) {
  std::string out;
  auto list = edits.edits();
  std::size_t at = 0;
  for (const auto& edit : list) {
    out += body.substr(at, edit.begin - at);
    out += edit.text;
    at = edit.end;
  }
  return out + std::string(body.substr(at));
}
constexpr std::string_view kBody = R"({ "model":"auto", "messages":[{"a":"}]"}] ,"stream":false,"n":1 })";

TEST(Fields, FindsTopLevelMembers) {
  auto fields = top_level_fields(kBody);
  ASSERT_EQ(fields.size(), 4U);
  EXPECT_EQ(kBody.substr(fields[1].value.begin, fields[1].value.end - fields[1].value.begin), R"([{"a":"}]"}])");
  EXPECT_TRUE(top_level_fields("{}").empty());
}
TEST(Fields, SetsRenamesAndRemoves) {
  BodyEdits edits(kBody);
  edits.set("stream", "true");
  edits.set("max_tokens", "5");
  edits.rename("n", "m");
  edits.remove("model");
  EXPECT_EQ(edited(kBody, edits), R"({"max_tokens":5, "messages":[{"a":"}]"}] ,"stream":true,"m":1 })");
}
TEST(Fields, RemovesAnySubset) {
  for (unsigned mask = 0; mask < 16; ++mask) {
    BodyEdits edits(kBody);
    std::string_view names[] = {"model", "messages", "stream", "n"};
    for (unsigned i = 0; i < 4; ++i)
      if (mask & (1U << i)) edits.remove(names[i]);
    auto left = top_level_fields(edited(kBody, edits));
    EXPECT_EQ(left.size(), 4U - static_cast<unsigned>(__builtin_popcount(mask))) << edited(kBody, edits);
    EXPECT_EQ(edited(kBody, edits).find(",}"), std::string::npos) << edited(kBody, edits);
    EXPECT_EQ(edited(kBody, edits).find(", }"), std::string::npos) << edited(kBody, edits);
  }
}
} // namespace
} // namespace intertie::wire
