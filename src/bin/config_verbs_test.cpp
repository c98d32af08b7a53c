#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "bin/config_verbs.hpp"

namespace intertie::bin {
namespace {

class ConfigInit : public testing::Test {
 protected:
  ConfigInit() {
    std::string name = testing::TempDir() + "config-XXXXXX";
    root_ = ::mkdtemp(name.data());
  }
  ~ConfigInit() override { std::filesystem::remove_all(root_); }
  static std::string read(const std::string& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static unsigned mode(const std::string& path) {
    struct stat facts{};
    return ::stat(path.c_str(), &facts) == 0 ? facts.st_mode & 0777 : 0;
  }
  std::string root_;
};

TEST_F(ConfigInit, WritesAPrivateFileInAPrivateFolder) {
  auto file = root_ + "/a/intertie/intertie.toml";
  auto kept = write_sample(file, "# hello\n", Existing::Keep);
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_TRUE(kept->empty());
  EXPECT_EQ(read(file), "# hello\n");
  EXPECT_EQ(mode(file), 0600U);
  EXPECT_EQ(mode(root_ + "/a/intertie"), 0700U);
}

TEST_F(ConfigInit, KeepsAnExistingFileUnlessForced) {
  auto file = root_ + "/intertie.toml";
  ASSERT_TRUE(write_sample(file, "mine\n", Existing::Keep));
  auto again = write_sample(file, "sample\n", Existing::Keep);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "exists");
  EXPECT_EQ(read(file), "mine\n");
  auto forced = write_sample(file, "sample\n", Existing::Replace);
  ASSERT_TRUE(forced) << forced.error().message;
  EXPECT_EQ(*forced, file + ".old");
  EXPECT_EQ(read(file), "sample\n");
  EXPECT_EQ(read(*forced), "mine\n");
}

TEST_F(ConfigInit, SaysWhyItCantBeWritten) {
  std::ofstream(root_ + "/file") << "x";
  auto written = write_sample(root_ + "/file/intertie.toml", "x", Existing::Keep);
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find(root_), std::string::npos);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root_), {}), 1); // nothing half-written
}

class ReplaceConfig : public ConfigInit {};

TEST_F(ReplaceConfig, KeepsModeAndLink) {
  auto real = root_ + "/dotfiles.toml", file = root_ + "/intertie.toml";
  std::ofstream(real) << "old\n";
  ASSERT_EQ(::chmod(real.c_str(), 0640), 0);
  std::filesystem::create_symlink("dotfiles.toml", file);
  auto replaced = replace_config(file, "old\n", "new\n");
  ASSERT_TRUE(replaced) << replaced.error().message;
  EXPECT_TRUE(std::filesystem::is_symlink(file));
  EXPECT_EQ(read(real), "new\n");
  EXPECT_EQ(mode(real), 0640U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root_), {}), 2);
}

TEST_F(ReplaceConfig, LeavesAloneWhatSomebodyElseChanged) {
  auto file = root_ + "/intertie.toml";
  std::ofstream(file) << "theirs\n";
  EXPECT_EQ(replace_config(file, "old\n", "new\n").error().code, "changed_meanwhile");
  EXPECT_EQ(read(file), "theirs\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root_), {}), 1);
}

TEST_F(ReplaceConfig, MakesTheFirstFile) {
  auto file = root_ + "/intertie/intertie.toml";
  ASSERT_TRUE(replace_config(file, "", "new\n"));
  EXPECT_EQ(read(file), "new\n");
  EXPECT_EQ(mode(file), 0600U);
}

} // namespace
} // namespace intertie::bin
