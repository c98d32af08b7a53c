#include "local/pressure.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "local/test_rig.hpp"

namespace intertie::local {
namespace {
Timings at(double rate, std::uint32_t tokens = 20) {
  Timings t;
  t.output_tokens = tokens;
  t.output_ms = tokens * 1000.0 / rate;
  return t;
}

TEST(Pressure, ReadsTheKernelsFile) {
  EXPECT_EQ(read_pressure("some avg10=97.53 avg60=1.00 avg300=2.00 total=6349991591"), 97.53);
  EXPECT_EQ(read_pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=0"), 0.0);
  for (const auto* odd : {"", "some", "some avg10=", "some avg10=x avg60=1", "some avg10=-1 ", "some avg10=nan ",
                          "full avg10=1.00 avg60=0.00"})
    EXPECT_FALSE(read_pressure(odd)) << odd;
  EXPECT_FALSE(cpu_pressure("/nowhere"));
  Rig rig;
  std::ofstream(rig.dir + "/cpu") << "some avg10=41.00 avg60=1.00 avg300=2.00 total=3\nfull avg10=0.00\n";
  EXPECT_EQ(cpu_pressure(rig.dir + "/cpu"), 41.0);
}
TEST(Crowding, TakesBothSignsThreeTimesInARow) {
  Crowding crowding;
  EXPECT_TRUE(crowding.saw(at(20), 100, 90));
  EXPECT_TRUE(crowding.saw(at(20), 100, 90));
  EXPECT_FALSE(crowding.saw(at(30), 100, 90)); // fast enough
  EXPECT_TRUE(crowding.saw(at(20), 100, 90));
  EXPECT_FALSE(crowding.saw(at(20), 100, 5)); // slow for another reason
  EXPECT_FALSE(crowding.saw(at(20), 100, std::nullopt));
  EXPECT_FALSE(crowding.saw(at(20), 0, 90)); // nothing to compare with
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(crowding.saw(at(20), 100, 90));
  EXPECT_FALSE(crowding.saw(at(20, 2), 100, 90)); // too short to tell, and no reason to start over
  EXPECT_FALSE(crowding.crowded());
  EXPECT_TRUE(crowding.saw(at(20), 100, 90));
  EXPECT_TRUE(crowding.crowded());
  crowding.forget();
  EXPECT_FALSE(crowding.crowded());
}
TEST(Crowding, HalvesThreadsDownToOne) {
  EXPECT_EQ(halved({7, 8}), (Threads{3, 4}));
  EXPECT_EQ(halved({3, 4}), (Threads{1, 2}));
  EXPECT_EQ(halved({1, 2}), (Threads{1, 1}));
  EXPECT_EQ(halved({1, 1}), (Threads{1, 1}));
}
} // namespace
} // namespace intertie::local
