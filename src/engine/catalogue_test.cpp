#include <gtest/gtest.h>

#include "engine/catalogue.hpp"

namespace intertie::engine {
namespace {

provider::Provider cloud(std::string name, std::vector<std::string> models) {
  provider::Provider p;
  p.name = std::move(name);
  p.spec = provider::find_spec("openai-compatible");
  p.place = Place::Cloud;
  p.trust = Trust::T4;
  p.paid = true;
  for (auto& model : models) {
    provider::ConfiguredModel m;
    m.name = std::move(model);
    p.models.push_back(std::move(m));
  }
  return p;
}
Reachable reachable(provider::Provider p) {
  return {std::make_shared<const provider::Remote>(std::move(p)), std::make_shared<provider::Health>()};
}
LocalModel local(std::string name) {
  LocalModel m;
  m.facts.provider = kLocal;
  m.facts.name = std::move(name);
  m.condition = route::Condition::Cold;
  return m;
}
Catalogue sample() {
  std::vector<Reachable> remotes;
  auto one = cloud("one", {"big", "small"});
  one.models[1].alias = "quick";
  remotes.push_back(reachable(std::move(one)));
  remotes.push_back(reachable(cloud("two", {"big"})));
  return Catalogue(std::move(remotes), {local("tiny")});
}
std::vector<std::string> found(const Catalogue& catalogue, std::string_view name,
                               std::unique_ptr<Catalogue::Entry>& made_up) {
  std::vector<std::string> out;
  auto wish = route::parse_model_name(name, catalogue.provider_names());
  for (const auto& candidate : catalogue.candidates(wish, TimePoint{}, made_up))
    out.push_back(candidate.model->provider + "/" + candidate.model->name);
  return out;
}
using Names = std::vector<std::string>;

TEST(Catalogue, NamedAsksSeeTheirNameAndTheDevice) {
  auto catalogue = sample();
  std::unique_ptr<Catalogue::Entry> made_up;
  EXPECT_EQ(found(catalogue, "auto", made_up), (Names{"local/tiny", "one/big", "one/small", "two/big"}));
  EXPECT_EQ(found(catalogue, "big", made_up), (Names{"local/tiny", "one/big", "two/big"}));
  EXPECT_EQ(found(catalogue, "quick", made_up), (Names{"local/tiny", "one/small"}));
  EXPECT_EQ(found(catalogue, "nowhere", made_up), (Names{"local/tiny"}));
  EXPECT_EQ(made_up, nullptr);
}
TEST(Catalogue, ProvidersKnowModelsThatNobodyListed) {
  auto catalogue = sample();
  std::unique_ptr<Catalogue::Entry> made_up;
  EXPECT_EQ(found(catalogue, "two/brand-new", made_up), (Names{"local/tiny", "two/brand-new"}));
  ASSERT_NE(made_up, nullptr);
  EXPECT_EQ(made_up->facts.trust, Trust::T4);
  EXPECT_TRUE(made_up->facts.paid);
}
TEST(Catalogue, HealthShowsInConditions) {
  auto catalogue = sample();
  const auto& entry = catalogue.entries()[1];
  Failure refused{.kind = FailureKind::Unauthorized, .fault = Fault::Auth, .message = "x", .code = {}, .param = {}};
  catalogue.remote(entry)->health->failed(refused, TimePoint{});
  std::unique_ptr<Catalogue::Entry> made_up;
  auto candidates = catalogue.candidates({}, TimePoint{}, made_up);
  EXPECT_EQ(candidates[0].condition, route::Condition::Cold);
  EXPECT_EQ(candidates[1].condition, route::Condition::HardDown);
  EXPECT_EQ(candidates[3].condition, route::Condition::Ready);
}
} // namespace
} // namespace intertie::engine
