// Runs tests/golden/config/*.txt: a file with a mistake → the message. INTERTIE_ACCEPT=1 rewrites the expectations.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "config/config.hpp"

namespace intertie::config {
namespace {
struct Case {
  std::string title, toml, expected;
  Environment environment{{{"HOME", "/home/ada"}}};
};

TEST(ConfigGolden, MistakesAreSaidWithTheirPositionAndTheFix) {
  bool accept = std::getenv("INTERTIE_ACCEPT") != nullptr;
  int count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(INTERTIE_SOURCE_DIR) + "/tests/golden/config")) {
    if (entry.path().extension() != ".txt") continue;
    std::ifstream in(entry.path());
    std::string head;
    std::vector<Case> cases;
    bool expecting = false;
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("case: ")) {
        cases.emplace_back().title = line.substr(6);
        expecting = false;
      } else if (cases.empty()) {
        head += line + "\n";
      } else if (line == "---") {
        expecting = true;
      } else if (expecting) {
        if (!line.empty()) cases.back().expected += line;
      } else {
        cases.back().toml += line + "\n";
        if (auto equals = line.find('='); line.starts_with("# INTERTIE_") && equals != std::string::npos)
          cases.back().environment.variables[line.substr(2, equals - 2)] = line.substr(equals + 1);
      }
    }
    std::string rewritten = head;
    for (auto& one : cases) {
      SCOPED_TRACE(one.title);
      auto config = parse_config(one.toml, "intertie.toml", one.environment);
      EXPECT_FALSE(config.has_value()) << "this is no mistake";
      auto got = config ? std::string("no mistake") : config.error().message;
      if (!accept) { EXPECT_EQ(got, one.expected); }
      rewritten += "case: " + one.title + "\n" + one.toml + "---\n" + got + "\n\n";
      ++count;
    }
    if (accept) std::ofstream(entry.path()) << rewritten;
  }
  EXPECT_GE(count, 30);
}
} // namespace
} // namespace intertie::config
