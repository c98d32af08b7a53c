#include "local/cgroup.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "local/test_rig.hpp"

namespace intertie::local {
namespace {
// Plain files in the place of the kernel's.
class CgroupsTest : public ::testing::Test {
 protected:
  CgroupsTest() {
    std::filesystem::create_directory(own);
    put("cgroup.procs", "4711\n");
    put("cgroup.controllers", "cpu memory pids\n");
    put("cgroup.subtree_control", "");
  }
  void put(const std::string& file, const std::string& text) const { std::ofstream(own + "/" + file) << text; }
  std::string get(const std::string& file) const {
    std::ifstream in(own + "/" + file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  Rig rig;
  std::string own = rig.dir + "/own";
};

TEST(OwnCgroup, IsWhatVersionTwoSays) {
  EXPECT_EQ(own_cgroup("4:memory:/x\n0::/user.slice/app.service\n", "/c"), "/c/user.slice/app.service");
  for (const auto* none : {"", "4:memory:/x\n", "0::/\n", "0::/../other\n", "0::/a/../b\n"})
    EXPECT_FALSE(own_cgroup(none, "/c")) << none;
}
TEST_F(CgroupsTest, GivesAChildItsCeiling) {
  Cgroups groups(own, 4711);
  ASSERT_TRUE(groups.usable());
  EXPECT_EQ(get("daemon/cgroup.procs"), "4711");
  EXPECT_EQ(get("cgroup.subtree_control"), "+memory");
  ASSERT_TRUE(groups.confine(7, 4712, 1000));
  EXPECT_EQ(get("engine-7/memory.max"), "1000");
  EXPECT_EQ(get("engine-7/cgroup.procs"), "4712");
  EXPECT_EQ(get("engine-7/memory.oom.group"), "1");
}
TEST_F(CgroupsTest, LeavesAloneWhatOthersLiveIn) {
  put("cgroup.procs", "4711\n4713\n");
  EXPECT_FALSE(Cgroups(own, 4711).usable());
  put("cgroup.procs", "4713\n");
  EXPECT_FALSE(Cgroups(own, 4711).usable());
  EXPECT_FALSE(std::filesystem::exists(own + "/daemon"));
}
TEST_F(CgroupsTest, NeedsTheController) {
  put("cgroup.controllers", "cpu memory2\n");
  EXPECT_FALSE(Cgroups(own, 4711).usable());
  EXPECT_FALSE(Cgroups(rig.dir + "/none", 4711).usable());
  EXPECT_FALSE(Cgroups{}.confine(1, 2, 3));
}
TEST_F(CgroupsTest, GoesBackWhenTheControllerCantBeHandedOut) {
  std::filesystem::remove(own + "/cgroup.subtree_control");
  std::filesystem::create_directory(own + "/cgroup.subtree_control"); // can't be written
  EXPECT_FALSE(Cgroups(own, 4711).usable());
  EXPECT_EQ(get("cgroup.procs"), "4711");
}
TEST(MemoryCeiling, IsAboveWhatIsPredicted) { EXPECT_EQ(memory_ceiling(400ULL << 20), (500ULL + 64) << 20); }
} // namespace
} // namespace intertie::local
