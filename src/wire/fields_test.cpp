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
TEST(Fields, KnowsAKeyHoweverItIsWritten) {
  constexpr std::string_view kEscaped = R"({"m\u006fdel":"auto","n":1})";
  BodyEdits edits(kEscaped);
  EXPECT_EQ(edits.value("model"), "\"auto\"");
  edits.set("model", "\"x\"");
  edits.remove("n");
  EXPECT_EQ(edited(kEscaped, edits), R"({"model":"x"})");
  EXPECT_EQ(member_of(kEscaped, "model"), "\"auto\"");
  EXPECT_EQ(member_of(kEscaped, "mode"), "");
}
TEST(Fields, ChangesWhatStandsInsideAMember) {
  BodyEdits edits(kBody);
  edits.set("max_tokens", "5");
  edits.remove("stream");
  edits.inside(member_of(elements_of(edits.value("messages"))[0], "a"), "1");
  EXPECT_EQ(edited(kBody, edits), R"({"max_tokens":5, "model":"auto", "messages":[{"a":1}] ,"n":1 })");
}
TEST(Fields, FindsElements) {
  using Elements = std::vector<std::string_view>;
  EXPECT_EQ(elements_of(R"([ 1 ,"a,]" , {"b":[2]},[],null ])"),
            (Elements{"1", "\"a,]\"", "{\"b\":[2]}", "[]", "null"}));
  EXPECT_EQ(elements_of("[]"), Elements{});
  EXPECT_EQ(elements_of("null"), Elements{});
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
