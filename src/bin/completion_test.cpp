#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "bin/completion.hpp"

namespace intertie::bin {
namespace {

std::string read(const std::string& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Every string between quotes behind `marker` in the source.
std::set<std::string> named_after(const std::string& source, const std::string& marker) {
  std::set<std::string> out;
  for (auto at = source.find(marker); at != std::string::npos; at = source.find(marker, at + 1)) {
    auto quote = source.find('"', at + marker.size());
    if (quote == std::string::npos || quote - at > marker.size() + 24) continue;
    out.insert(source.substr(quote + 1, source.find('"', quote + 1) - quote - 1));
  }
  return out;
}

TEST(Completion, KnowsEveryVerbAndOptionOfTheCommandLine) {
  auto source = read(INTERTIE_SOURCE_DIR "/src/bin/main.cpp");
  ASSERT_FALSE(source.empty());
  std::set<std::string> verbs, options;
  for (const auto& verb : verb_words()) {
    auto space = verb.path.find(' ');
    verbs.emplace(space == std::string_view::npos ? verb.path : verb.path.substr(space + 1));
    for (const auto& option : verb.options) options.emplace(option.name);
  }
  for (const auto& option : global_options()) options.emplace(option.name);
  for (const char* marker : {"verb(&app,", "verb(models,", "verb(providers,", "verb(config_verb,", "add_subcommand("})
    for (const auto& name : named_after(source, marker)) EXPECT_TRUE(verbs.contains(name)) << "verb " << name;
  for (const char* marker : {"add_option(", "add_flag("})
    for (const auto& name : named_after(source, marker))
      if (name.starts_with("--")) EXPECT_TRUE(options.contains(name)) << "option " << name;
}

// The scripts are read by the shells themselves where they are installed.
void expect_shell_reads(const std::string& shell, const std::string& script) {
  if (std::system(("command -v " + shell + " >/dev/null 2>&1").c_str()) != 0)
    GTEST_SKIP() << shell << " is not installed";
  auto file = testing::TempDir() + "intertie_completion_" + shell + std::to_string(::getpid());
  std::ofstream(file) << script;
  EXPECT_EQ(std::system((shell + " -n " + file).c_str()), 0) << script;
  std::remove(file.c_str());
}
TEST(Completion, BashReadsIt) { expect_shell_reads("bash", bash_completion()); }
TEST(Completion, ZshReadsIt) { expect_shell_reads("zsh", zsh_completion()); }
TEST(Completion, FishReadsIt) { expect_shell_reads("fish", fish_completion()); }

std::string bash_offers(const std::string& words, int at) {
  auto file = testing::TempDir() + "intertie_completion_run" + std::to_string(::getpid());
  std::ofstream(file) << bash_completion() << "\nCOMP_WORDS=(" << words << ")\nCOMP_CWORD=" << at
                      << "\n_intertie\necho \"${COMPREPLY[*]}\"\n";
  std::string out;
  if (auto* pipe = ::popen(("bash " + file + " 2>&1").c_str(), "r")) {
    char buffer[4096];
    while (auto* line = std::fgets(buffer, sizeof buffer, pipe)) out += line;
    ::pclose(pipe);
  }
  std::remove(file.c_str());
  return out;
}

TEST(Completion, BashOffersVerbsThenTheirOwnOptions) {
  EXPECT_EQ(bash_offers("intertie do", 1), "doctor\n");
  EXPECT_EQ(bash_offers("intertie models p", 2), "pull\n");
  EXPECT_EQ(bash_offers("intertie models pull --s", 3), "--sha256\n");
  EXPECT_EQ(bash_offers("intertie --config x.toml completion z", 4), "zsh\n");
  EXPECT_EQ(bash_offers("intertie ask --w", 2), "--why\n");
  EXPECT_EQ(bash_offers("intertie set local.mem", 2), "local.memory_limit\n");
}

} // namespace
} // namespace intertie::bin
