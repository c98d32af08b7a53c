#include "local/calibrate.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "local/test_rig.hpp"

namespace intertie::local {
namespace {
TEST(RatesTest, FirstMeasurementReplacesTheGuess) {
  Gguf model;
  model.file_bytes = 100'000'000;
  auto rates = guess_rates(model, 1, 10e9);
  EXPECT_GT(rates.output, 10);
  EXPECT_GT(rates.prompt, rates.output);
  EXPECT_FALSE(rates.measured);
  EXPECT_TRUE(learn(rates, {.prompt_ms = 100, .output_ms = 1000, .prompt_tokens = 50, .output_tokens = 20}));
  EXPECT_TRUE(rates.measured);
  EXPECT_DOUBLE_EQ(rates.prompt, 500);
  EXPECT_DOUBLE_EQ(rates.output, 20);
  EXPECT_TRUE(learn(rates, {.prompt_ms = 100, .output_ms = 1000, .prompt_tokens = 100, .output_tokens = 30}));
  EXPECT_DOUBLE_EQ(rates.output, 23);
}
TEST(RatesTest, ShortAnswersTellNothing) {
  Rates rates{.prompt = 7, .output = 8};
  EXPECT_FALSE(learn(rates, {.prompt_ms = 1, .output_ms = 1, .prompt_tokens = 3, .output_tokens = 2}));
  EXPECT_FALSE(learn(rates, {}));
  EXPECT_DOUBLE_EQ(rates.prompt, 7);
}
TEST(RatesTest, FirstTokenIsReadingPlusOverhead) {
  EXPECT_EQ(first_token(Rates{.prompt = 1000, .output = 1, .overhead_ms = 10}, 500), milliseconds{510});
  EXPECT_EQ(first_token(Rates{}, 500), milliseconds{0});
}
TEST(RateBookTest, SurvivesTheDiskAndIgnoresNonsense) {
  Rig rig;
  auto file = rig.dir + "/rates.json";
  RateBook book(file);
  book.load();
  book.put("a \"key\"|1",
           {.prompt = 100.5, .output = 20, .resident = 7'000'000'000, .context = 4096, .slots = 1, .measured = true});
  ASSERT_TRUE(book.save());
  RateBook again(file);
  again.load();
  ASSERT_NE(again.find("a \"key\"|1"), nullptr);
  EXPECT_DOUBLE_EQ(again.find("a \"key\"|1")->prompt, 100.5);
  EXPECT_EQ(again.find("a \"key\"|1")->resident, 7'000'000'000U);
  EXPECT_TRUE(again.find("a \"key\"|1")->measured);
  std::ofstream(file) << "{\"x\":{\"prompt\":-5,\"output\":\"y\"},";
  again.load();
  EXPECT_EQ(again.find("x"), nullptr);
}
} // namespace
} // namespace intertie::local
