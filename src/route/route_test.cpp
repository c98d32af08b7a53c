#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "route/decide.hpp"

namespace intertie::route {
namespace {
const std::vector<std::string> kProviders{"openai", "local"};

TEST(ModelName, IsReadInItsFourForms) {
  EXPECT_EQ(parse_model_name("auto", kProviders).wish, Wish::Auto);
  EXPECT_EQ(parse_model_name("auto:private", kProviders).wish, Wish::AutoPrivate);
  EXPECT_EQ(parse_model_name("auto:fast", kProviders).wish, Wish::AutoFast);
  EXPECT_EQ(parse_model_name("auto:cheap", kProviders).wish, Wish::AutoCheap);
  EXPECT_EQ(parse_model_name("auto:best", kProviders).wish, Wish::AutoBest);
  auto split = parse_model_name("openai/gpt-4o", kProviders);
  EXPECT_EQ(split.provider, "openai");
  EXPECT_EQ(split.model, "gpt-4o");
  for (std::string_view bare :
       {"gpt-4o", "meta-llama/Llama-3", "AUTO", "auto:other", "", "/x", "openai/", "x/openai/y"}) {
    auto name = parse_model_name(bare, kProviders);
    EXPECT_EQ(name.wish, Wish::Named) << bare;
    EXPECT_EQ(name.provider, "") << bare;
    EXPECT_EQ(name.model, bare) << bare;
  }
}

TEST(Reasons, HaveStableAndDistinctNames) {
  std::vector<std::string_view> seen;
  for (int code = 0; code <= static_cast<int>(ReasonCode::NotScanned); ++code) {
    auto name = to_string(static_cast<ReasonCode>(code));
    EXPECT_FALSE(name.empty());
    EXPECT_EQ(std::ranges::count(seen, name), 0) << name;
    seen.push_back(name);
    ModelFacts model;
    EXPECT_FALSE(render({0, static_cast<ReasonCode>(code), 1, 1}, model).empty()) << name;
  }
}

TEST(Policy, DefaultTextStatesTheFourRulesAndTheDefaults) {
  auto text = default_policy_text();
  for (std::string_view part :
       {"1. The switch orchestrates", "2. Small tasks and anything sensitive", "3. General work",
        "4. High-end reasoning", "paid = false", "furthest = \"cloud\"", "small_tokens = 2000"})
    EXPECT_NE(text.find(part), std::string_view::npos) << part;
}

// Random worlds and policies: the plan is total and deterministic, and no leg is one that a rule forbids.
TEST(Decide, NeverPlansALegThatARuleForbids) {
  std::mt19937 random{4683};
  auto pick = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  const std::array<std::string, 5> names{"auto", "auto:best", "auto:private", "m1", "p1/m1"};
  const std::vector<std::string> providers{"p0", "p1", "p2"};
  for (int round = 0; round < 20'000; ++round) {
    std::vector<ModelFacts> models(pick(7));
    std::vector<Candidate> candidates;
    for (std::uint16_t i = 0; i < models.size(); ++i) {
      auto& m = models[i];
      m.provider = "p" + std::to_string(pick(3));
      m.name = "m" + std::to_string(pick(3));
      m.place = static_cast<Place>(pick(3));
      m.trust = m.place == Place::Device ? Trust::T0 : static_cast<Trust>(1 + pick(4));
      m.paid = m.place == Place::Cloud && pick(2) == 0;
      m.key_missing = pick(8) == 0;
      m.context = pick(4) == 0 ? 0 : 1000 * pick(20);
      m.quality = static_cast<int>(pick(100));
      m.caps_known = pick(2) == 0;
      m.caps = static_cast<Cap>(pick(8));
      candidates.push_back({&m, static_cast<Condition>(pick(7)), i});
    }
    Policy policy;
    policy.paid = pick(2) == 0;
    policy.furthest = static_cast<Place>(pick(3));
    for (auto& row : policy.matrix.actions)
      for (auto& action : row) action = pick(2) == 0 ? Action::Allow : static_cast<Action>(pick(6));
    Signals signals;
    signals.wish = parse_model_name(names[pick(names.size())], providers);
    signals.prompt_tokens = pick(10'000);
    signals.needs = static_cast<Cap>(pick(4) == 0 ? pick(8) : 0);
    if (pick(3) == 0) signals.hints.furthest = static_cast<Place>(pick(3));
    auto data_class = static_cast<DataClass>(pick(kClasses));
    int scans = 0;
    auto scan = [&] {
      ++scans;
      return data_class;
    };
    auto plan = decide(signals, policy, candidates, scan);
    ASSERT_LE(scans, 1);
    ASSERT_LE(plan.legs.size(), kMaxLegs);
    ASSERT_EQ(plan.reasons.size(), candidates.size());
    ASSERT_EQ(plan.legs.empty(), plan.refusal.has_value());
    if (plan.refusal) { ASSERT_FALSE(plan.refusal->message.empty()); }
    for (const auto& leg : plan.legs) {
      const auto& m = *leg.model;
      ASSERT_LE(m.place, policy.furthest);
      if (signals.hints.furthest) { ASSERT_LE(m.place, *signals.hints.furthest); }
      ASSERT_FALSE(m.paid && !policy.paid);
      ASSERT_FALSE(m.key_missing);
      ASSERT_NE(candidates[leg.candidate].condition, Condition::HardDown);
      ASSERT_TRUE(policy.matrix.open(m.trust) || scans == 1) << "an outside place without a look";
      ASSERT_EQ(policy.matrix.at(data_class, m.trust), Action::Allow);
      if (signals.wish.wish == Wish::AutoPrivate) { ASSERT_EQ(m.trust, Trust::T0); }
      bool substitute = signals.wish.wish == Wish::Named && m.name != signals.wish.model;
      if (substitute) { ASSERT_EQ(m.trust, Trust::T0); }
    }
    auto again = decide(signals, policy, candidates, scan);
    ASSERT_EQ(again.legs.size(), plan.legs.size());
    for (std::size_t i = 0; i < plan.legs.size(); ++i) ASSERT_EQ(again.legs[i].candidate, plan.legs[i].candidate);
    (void)counterfactuals(plan, signals, policy, candidates);
  }
}
} // namespace
} // namespace intertie::route
