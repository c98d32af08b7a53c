#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include <fmt/format.h>

#include "core/text.hpp"
#include "provider/spec.hpp"

namespace intertie::provider {
namespace {
TEST(Providers, EveryRowIsCompleteAndItsOwn) {
  std::set<std::string_view> names, titles;
  for (const auto& spec : specs()) {
    SCOPED_TRACE(spec.name);
    EXPECT_TRUE(names.insert(spec.name).second);
    EXPECT_TRUE(titles.insert(spec.title).second);
    EXPECT_EQ(spec.name, text::lower(spec.name));
    EXPECT_EQ(find_spec(spec.name), &spec);
    EXPECT_FALSE(spec.title.empty());
    EXPECT_TRUE(spec.trusts.ends_with(").")) << "a trusts sentence ends with its date";
    EXPECT_NE(spec.trusts.find(" (20"), std::string_view::npos) << "a trusts sentence has a date";
    if (!spec.base_url.empty()) {
      EXPECT_TRUE(spec.base_url.starts_with("https://") || spec.base_url.starts_with("http://127.0.0.1"));
      EXPECT_FALSE(spec.base_url.ends_with("/"));
    }
    bool cloud = spec.place == Place::Cloud;
    EXPECT_EQ(cloud, spec.paid) << "clouds cost money until someone says otherwise; nothing nearer does";
    if (cloud) EXPECT_GE(spec.trust, Trust::T3);
    if (spec.place == Place::Edge) EXPECT_EQ(spec.trust, Trust::T1);
    if (spec.place == Place::Device) EXPECT_EQ(spec.trust, Trust::T0);
    if (spec.base_url.starts_with("https://")) EXPECT_FALSE(spec.key_env.empty());
    EXPECT_EQ(spec.auth == Auth::None && !spec.key_env.empty(), false);
  }
  EXPECT_EQ(find_spec("no-such"), nullptr);
  EXPECT_EQ(find_spec("local"), nullptr) << "the supervised engine is no [[provider]]";
}

TEST(Providers, NoQuirkStripsWhatItRefuses) {
  for (const auto& spec : specs()) {
    auto strip = text::split(spec.quirks.strip, ','), refuse = text::split(spec.quirks.refuse, ',');
    for (auto field : strip)
      if (!field.empty()) {
        EXPECT_EQ(std::find(refuse.begin(), refuse.end(), field), refuse.end()) << spec.name << " " << field;
      }
  }
}

TEST(Providers, AModelOfItsMakersCloudIsNotOnThisDevice) {
  Provider ollama;
  ollama.place = Place::Device;
  ollama.trust = Trust::T0;
  EXPECT_EQ(standing(ollama, "llama3.2:1b").place, Place::Device);
  for (std::string_view name : {"gpt-oss:120b-cloud", "kimi-k2:cloud"}) {
    auto there = standing(ollama, name);
    EXPECT_EQ(there.place, Place::Cloud) << name;
    EXPECT_EQ(there.trust, Trust::T4);
    EXPECT_TRUE(there.paid);
  }
  Provider cloud;
  cloud.place = Place::Cloud;
  cloud.trust = Trust::T3;
  EXPECT_EQ(standing(cloud, "x-cloud").trust, Trust::T3) << "a cloud is what it was declared to be";
}

std::string quirks_in_words(const Quirks& q) {
  std::string out;
  auto add = [&](std::string_view word) { out += (out.empty() ? "" : "; ") + std::string(word); };
  if (q.azure_path) add("path by deployment and api-version");
  if (q.old_max_tokens) add("max_tokens");
  if (q.no_stream_options) add("no stream_options");
  if (!q.strip.empty()) add(fmt::format("leaves out {}", q.strip));
  if (!q.refuse.empty()) add(fmt::format("can't {}", q.refuse));
  if (q.context_from_models) add("tells its context lengths");
  return out.empty() ? "–" : out;
}
std::string table() {
  std::string out =
      "| kind | what | base_url | key | place | trust | paid | differs by |\n|---|---|---|---|---|---|---|---|\n";
  for (const auto& s : specs())
    out += fmt::format("| `{}` | {} | {} | {} | {} | {} | {} | {} |\n", s.name, s.title,
                       s.base_url.empty() ? "needed" : fmt::format("`{}`", s.base_url),
                       s.key_env.empty() ? "if it wants one" : fmt::format("`{}`", s.key_env), to_string(s.place),
                       to_string(s.trust), s.paid ? "yes" : "no", quirks_in_words(s.quirks));
  out += "\nWhom you trust with what:\n\n";
  for (const auto& s : specs()) out += fmt::format("- **{}**: {}\n", s.title, s.trusts);
  return out;
}

// docs/providers.md holds the table between two marks; INTERTIE_ACCEPT=1 rewrites it.
TEST(Providers, TheDocumentedTableIsThisOne) {
  auto file = std::string(INTERTIE_SOURCE_DIR) + "/docs/providers.md";
  std::ifstream in(file);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::string begin = "<!-- table: from src/provider/providers.cpp -->\n", end = "<!-- end of table -->\n";
  auto from = text.find(begin), to = text.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  from += begin.size();
  if (std::getenv("INTERTIE_ACCEPT") != nullptr)
    std::ofstream(file) << text.substr(0, from) + table() + text.substr(to);
  else EXPECT_EQ(text.substr(from, to - from), table());
}
} // namespace
} // namespace intertie::provider
