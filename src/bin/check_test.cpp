#include <gtest/gtest.h>

#include "bin/check_report.hpp"

namespace intertie::bin {
namespace {

Checked over(std::string_view text, const guard::Findings& findings, const Matrix& matrix) {
  return {"letter.txt", text, findings, matrix};
}

TEST(Check, PositionsCountLinesAndCodePoints) {
  EXPECT_EQ(position_of("abc", 0).column, 1U);
  auto at = position_of("first\nd\xC3\xA9j\xC3\xA0 vu", 10); // "déjà": the j is byte 9 … the à is byte 10
  EXPECT_EQ(at.line, 2U);
  EXPECT_EQ(at.column, 4U);
  EXPECT_EQ(position_of("a\n", 99).line, 2U); // beyond the end: the end
}

TEST(Check, SaysWhereAndWhatButNeverTheText) {
  std::string_view text = "Dear all,\nwrite to anna.larsson@example.org please.\n";
  auto findings = guard::scan_text(text);
  ASSERT_EQ(findings.list.size(), 1U);
  auto matrix = default_matrix();
  auto out = check_text(over(text, findings, matrix));
  EXPECT_NE(out.find("2:10"), std::string::npos) << out;
  EXPECT_NE(out.find("EMAIL"), std::string::npos) << out;
  EXPECT_NE(out.find("24 characters"), std::string::npos) << out;
  EXPECT_NE(out.find("class C2"), std::string::npos) << out;
  EXPECT_NE(out.find("stays on this device"), std::string::npos) << out;
  EXPECT_EQ(out.find("anna"), std::string::npos) << out;
  auto json = check_json(over(text, findings, matrix));
  EXPECT_NE(json.find(R"("line":2,"column":10)"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("T4":"local-only")"), std::string::npos) << json;
  EXPECT_EQ(json.find("anna"), std::string::npos) << json;
}

TEST(Check, ATextThatWasNotScannedWholeCountsAsUnknown) {
  guard::Findings findings{.list = {}, .scanned = true, .complete = false};
  auto matrix = default_matrix();
  auto out = check_text(over("x", findings, matrix));
  EXPECT_NE(out.find("class C6"), std::string::npos) << out;
  EXPECT_NE(out.find("A detector failed"), std::string::npos) << out;
}

TEST(Check, NothingFoundMayGoAnywhere) {
  guard::Findings findings{.list = {}, .scanned = true, .complete = true};
  auto matrix = default_matrix();
  auto out = check_text(over("The sky is blue.", findings, matrix));
  EXPECT_NE(out.find("nothing private found"), std::string::npos) << out;
  EXPECT_EQ(out.find("stays on this device"), std::string::npos) << out;
}

} // namespace
} // namespace intertie::bin
