#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>

#include "guard/clear.hpp"
#include "guard/scan.hpp"

namespace intertie::guard {
namespace {
Ask ask_of(std::string_view body, bool escaped = false) {
  Ask ask;
  ask.body = body;
  ask.texts = {{0, static_cast<std::uint32_t>(body.size()), Position::User, escaped}};
  return ask;
}

// Rows for tests: what they find is fixed.
void find_nothing(std::string_view, Sink, void*) {}
void find_then_throw(std::string_view, Sink sink, void* to) {
  sink(to, 0, 1, 1.0F);
  throw std::runtime_error("broken");
}
void find_beyond(std::string_view text, Sink sink, void* to) {
  sink(to, 0, static_cast<std::uint32_t>(text.size() + 1), 1.0F);
}
void find_0_4(std::string_view, Sink sink, void* to) { sink(to, 0, 4, 1.0F); }
void find_2_8(std::string_view, Sink sink, void* to) { sink(to, 2, 8, 1.0F); }
void find_8_9(std::string_view, Sink sink, void* to) { sink(to, 8, 9, 1.0F); }
void find_each(std::string_view text, Sink sink, void* to) {
  for (std::uint32_t i = 0; i < text.size(); ++i) sink(to, i, i + 1, 1.0F);
}

TEST(Scan, FailsClosed) {
  EXPECT_EQ(Findings{}.highest(DataClass::C6), DataClass::C6);
  Detector good{"GOOD", DataClass::C1, find_nothing};
  auto fine = scan_text("text", {&good, 1});
  EXPECT_TRUE(fine.scanned && fine.complete);
  EXPECT_EQ(fine.highest(DataClass::C6), DataClass::C0);
  for (Detector bad :
       {Detector{"THROWS", DataClass::C1, find_then_throw}, Detector{"BEYOND", DataClass::C1, find_beyond}}) {
    auto findings = scan(ask_of("text"), {&bad, 1});
    EXPECT_TRUE(findings.scanned);
    EXPECT_FALSE(findings.complete);
    EXPECT_EQ(findings.highest(DataClass::C6), DataClass::C6);
    EXPECT_EQ(findings.highest(DataClass::C0), findings.list.empty() ? DataClass::C0 : DataClass::C1);
    EXPECT_FALSE(clear(ask_of("text"), findings, default_matrix(), Trust::T4));
  }
}

TEST(Scan, FindingsAreBounded) {
  Detector each{"EACH", DataClass::C1, find_each};
  auto findings = scan_text(std::string(200'000, 'a'), {&each, 1});
  EXPECT_LE(findings.list.size(), 100'000U);
  EXPECT_FALSE(findings.complete);
}

TEST(Scan, OverlapsBecomeOneThatCoversAll) {
  std::array rows{Detector{"LOW", DataClass::C2, find_2_8}, Detector{"HIGH", DataClass::C4, find_0_4},
                  Detector{"NEXT", DataClass::C1, find_8_9}};
  auto findings = scan_text("0123456789", rows);
  ASSERT_EQ(findings.list.size(), 2U);
  EXPECT_EQ(findings.list[0].detector, 1); // the higher class names it
  EXPECT_EQ(findings.list[0].data_class, DataClass::C4);
  EXPECT_EQ(findings.list[0].begin, 0U);
  EXPECT_EQ(findings.list[0].end, 8U);
  EXPECT_EQ(findings.list[1].begin, 8U); // touching is not overlapping
  std::array same{Detector{"SHORT", DataClass::C2, find_0_4}, Detector{"LONG", DataClass::C2, find_2_8}};
  EXPECT_EQ(scan_text("0123456789", same).list[0].detector, 1); // the longer names it
}

TEST(Scan, FindsThroughEveryWayToWriteAnEscape) {
  const std::string address = "alice@example.com";
  for (std::size_t i = 0; i < address.size(); ++i) {
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(address[i]));
    std::string raw = address;
    raw.replace(i, 1, escape);
    std::string body = "\\ud83d\\ude00\\\"" + raw + "\\n\\u00e4";
    auto findings = scan(ask_of(body, true));
    ASSERT_EQ(findings.list.size(), 1U) << body;
    EXPECT_EQ(body.substr(findings.list[0].begin, findings.list[0].end - findings.list[0].begin), raw);
    EXPECT_TRUE(findings.complete);
  }
}

// Broken escapes can't come from wire; nothing may break if they do.
TEST(Scan, SurvivesBrokenEscapes) {
  for (std::string_view body :
       {"\\", "\\u", "\\u12", "\\ud83d", "\\ud83d\\", "\\ud83d\\u", "a\\ud83d\\ude0", "alice@example.com\\"}) {
    auto findings = scan(ask_of(body, true));
    for (const auto& f : findings.list) EXPECT_LE(f.end, body.size());
  }
}

TEST(Detectors, HaveDistinctNamesAndClasses) {
  auto rows = detectors();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_GE(rows[i].data_class, DataClass::C2);
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(rows[i].name, rows[j].name);
  }
}

// A deterministic stream of bits, so that a failure repeats.
struct Noise {
  std::uint64_t state = 88172645463325252U;
  std::uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  }
  std::string text(std::string_view alphabet, std::size_t size) {
    std::string out;
    while (out.size() < size) out += alphabet[next() % alphabet.size()];
    return out;
  }
};

TEST(Detectors, DontSeeThingsInNoise) {
  Noise noise;
  constexpr std::string_view k64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  constexpr std::string_view kUrl = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (auto alphabet : {k64, kUrl, std::string_view{"0123456789abcdef"}, std::string_view{"0123456789ABCDEF"}}) {
    EXPECT_TRUE(scan_text(noise.text(alphabet, 1U << 20)).list.empty()) << alphabet;
    std::string lines; // as PEM and mail fold it
    for (int i = 0; i < 4000; ++i) lines += noise.text(alphabet, 64) + "\n";
    EXPECT_TRUE(scan_text(lines).list.empty()) << alphabet;
  }
  std::string ids;
  for (int i = 0; i < 20'000; ++i) {
    auto hex = noise.text("0123456789abcdef", 32);
    ids += hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
           hex.substr(20) + "\n";
  }
  EXPECT_TRUE(scan_text(ids).list.empty());
}

// Text made of nothing but triggers, for each detector its worst.
const std::vector<std::string> kHostile{"@",
                                        "a@",
                                        "a@a.",
                                        "a.a@a.a.",
                                        ".@.",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@",
                                        "\xC3\xA4@",
                                        "a@a-",
                                        "1",
                                        "4 ",
                                        "41 ",
                                        "4111-",
                                        "4111 1111 1111 111",
                                        "4111111111111111 ",
                                        "4.",
                                        "41\xC2\xA0",
                                        "-----BEGIN ",
                                        "-----BEGIN PRIVATE KEY-----",
                                        "-----BEGIN PRIVATE KEY-----\n",
                                        "-----BEGIN PRIVATE KEY-----\nabcd:",
                                        "-----END ",
                                        "-",
                                        "-----BEGIN PRIVATE KEY-----\nabc\\n",
                                        "PuTTY-User-Key-File-",
                                        "PuTTY-User-Key-File-2Private-Lines:",
                                        "PuTTY-User-Key-File-2\nPrivate-Lines:aaaaaaaaaaaa:",
                                        "sk-",
                                        " sk-",
                                        "sk-a1",
                                        " sk-ant-",
                                        "AKIA",
                                        " AKIA",
                                        "ghp_",
                                        " ghp_a1",
                                        "github_pat_",
                                        "glpat-",
                                        " glpat-",
                                        "xoxb-",
                                        " xoxb-1",
                                        "sk_live_",
                                        " rk_test_",
                                        "whsec_",
                                        "AIza",
                                        " AIza",
                                        " gsk_",
                                        " xai-a1",
                                        "hf_",
                                        " npm_",
                                        "SG.",
                                        "SG.a",
                                        "SK",
                                        " SKa",
                                        "1:AA",
                                        "12345678:AA",
                                        "eyJ",
                                        " eyJ",
                                        "eyJa.eyJ",
                                        "eyJaaaaaaaaa.",
                                        "eyJaaaaaaaaa.eyJa.",
                                        "a",
                                        "\n",
                                        "\\n",
                                        " "};

double seconds_for(const Detector& row, std::string_view text) {
  auto before = std::chrono::steady_clock::now();
  auto findings = scan_text(text, {&row, 1});
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
}

TEST(Detectors, AreLinearOnHostileText) {
  for (const auto& unit : kHostile) {
    std::string text;
    text.reserve((1U << 20) + unit.size());
    while (text.size() < (1U << 20)) text += unit;
    for (const auto& row : detectors()) {
      if (seconds_for(row, text) < 0.05) continue; // 20 MB/s: no need to look closer
      double large = 1e9, small = 1e9;
      for (int i = 0; i < 5; ++i) {
        large = std::min(large, seconds_for(row, text));
        small = std::min(small, seconds_for(row, std::string_view{text}.substr(0, 256U << 10)));
      }
      EXPECT_LT(large, 4 * small * 2.5) << row.name << " on \"" << unit << "\"";
      EXPECT_LT(large, 2.0) << row.name << " on \"" << unit << "\"";
    }
  }
}

TEST(Clear, NeedsAScanUnlessEverythingMayGo) {
  Ask ask = ask_of("hello");
  auto matrix = default_matrix();
  EXPECT_TRUE(clear(ask, Findings{}, matrix, Trust::T0));
  EXPECT_FALSE(clear(ask, Findings{}, matrix, Trust::T1));
  EXPECT_FALSE(clear(ask, Findings{}, matrix, Trust::T4));
  auto cleared = clear(ask, scan(ask), matrix, Trust::T4);
  ASSERT_TRUE(cleared);
  EXPECT_EQ(&cleared->ask(), &ask);
  EXPECT_EQ(cleared->trust(), Trust::T4);
  EXPECT_EQ(clear(ask, Findings{}, matrix, Trust::T4).error().code, "policy_block"); // unknown is C6
  matrix.unknown = DataClass::C0;
  EXPECT_FALSE(clear(ask, Findings{}, matrix, Trust::T4)); // nobody looked, whatever unknown counts as
  Findings partial{.list = {}, .scanned = true, .complete = false};
  EXPECT_TRUE(clear(ask, partial, matrix, Trust::T4));
}

TEST(Clear, TakesTheStrictestActionNotTheHighestClass) {
  Ask ask = ask_of("AKIAIOSFODNN7EXAMPLE");
  Findings findings{
      .list = {{0, 4, 0, DataClass::C4, Position::User, 1.0F}, {5, 9, 0, DataClass::C5, Position::User, 1.0F}},
      .scanned = true,
      .complete = true};
  // At T1 the default lets C5 pass and keeps C4.
  EXPECT_EQ(clear(ask, findings, default_matrix(), Trust::T1).error().code, "policy_local_only");
  EXPECT_EQ(clear(ask, findings, default_matrix(), Trust::T3).error().code, "policy_block");
}

TEST(Clear, ActionsOfTheFullGuardDeny) {
  Ask ask = ask_of("hello");
  for (Action action : {Action::Mask, Action::Condense, Action::Ask, Action::LocalOnly, Action::Block}) {
    auto matrix = default_matrix();
    matrix.actions[0][4] = action;
    auto denied = clear(ask, scan(ask), matrix, Trust::T4);
    ASSERT_FALSE(denied);
    EXPECT_EQ(denied.error().kind, FailureKind::Denied);
    EXPECT_EQ(denied.error().fault, Fault::OurPolicy);
    EXPECT_EQ(denied.error().code, action == Action::Block ? "policy_block" : "policy_local_only");
  }
}

TEST(Clear, NeverShowsTheText) {
  Ask ask = ask_of("AKIAIOSFODNN7EXAMPLE alice@example.com");
  auto denied = clear(ask, scan(ask), default_matrix(), Trust::T4);
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().message.find("AKIA"), std::string::npos);
  EXPECT_NE(denied.error().message.find("AWS_KEY"), std::string::npos);
}
} // namespace
} // namespace intertie::guard
