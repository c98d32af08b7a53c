#include <gtest/gtest.h>

#include "bin/providers_probe.hpp"
#include "config/config.hpp"

namespace intertie::bin {
namespace {

Answer answer(int status, std::string body) {
  Answer out;
  out.status = status;
  out.body = std::move(body);
  return out;
}

provider::Provider configured(const std::string& toml, bool key = true) {
  config::Environment environment;
  environment.variables["HOME"] = "/nowhere";
  if (key) environment.variables["OPENAI_API_KEY"] = "sk-secret-of-the-test";
  auto config = config::parse_config(toml, "test.toml", environment);
  EXPECT_TRUE(config) << config.error().message;
  return config ? std::move(config->providers.front()) : provider::Provider{};
}

constexpr auto kOpenAi = "[[provider]]\nname = \"openai\"\nmodels = [\"gpt-4o-mini\"]\n";

// What was sent, and canned answers in order.
struct Script {
  std::vector<Result<Answer>> answers;
  std::vector<std::string> heads, bodies;
  Probe probe(bool may_pay = true) {
    Probe out;
    out.resolve = [](const std::string&) { return std::string{}; };
    out.may_pay = may_pay;
    out.fetch = [this](const net::Endpoint&, std::string head, std::string body, milliseconds) -> Result<Answer> {
      heads.push_back(std::move(head));
      bodies.push_back(std::move(body));
      if (heads.size() > answers.size()) return internal("asked too often");
      return answers[heads.size() - 1];
    };
    return out;
  }
};
std::string told(const std::vector<Step>& steps) {
  std::string out;
  for (const auto& step : steps) out += step.name + ":" + std::string(to_string(step.state)) + " ";
  return out;
}

TEST(ProviderTest, AllStepsOfAHealthyProvider) {
  Script script;
  script.answers = {answer(200, R"({"data":[{"id":"gpt-4o-mini"},{"id":"other"}]})"),
                    answer(200, R"({"choices":[{"message":{"content":"ok"}}]})")};
  auto steps = probe_provider(configured(kOpenAi), script.probe());
  EXPECT_EQ(told(steps), "name:ok connection:ok tls:ok key:ok models:ok answer:ok ");
  ASSERT_EQ(script.heads.size(), 2U);
  EXPECT_TRUE(script.heads[0].starts_with("GET /v1/models HTTP/1.1\r\n")) << script.heads[0];
  EXPECT_NE(script.heads[0].find("Authorization: Bearer sk-secret-of-the-test\r\n"), std::string::npos);
  EXPECT_NE(script.bodies[1].find("\"model\":\"gpt-4o-mini\""), std::string::npos) << script.bodies[1];
  for (const auto& step : steps) EXPECT_EQ((step.what + step.fix).find("sk-secret"), std::string::npos) << step.what;
}

TEST(ProviderTest, KeyRefused) {
  Script script;
  script.answers = {answer(401, R"({"error":{"message":"bad key"}})")};
  auto steps = probe_provider(configured(kOpenAi), script.probe());
  EXPECT_EQ(told(steps), "name:ok connection:ok tls:ok key:failed ");
  EXPECT_FALSE(steps.back().fix.empty());
}

TEST(ProviderTest, KeyMissingIsSaidWithItsPlace) {
  Script script;
  script.answers = {answer(401, "{}")};
  auto steps = probe_provider(configured(kOpenAi, false), script.probe());
  EXPECT_EQ(told(steps), "name:ok connection:ok tls:ok key:failed ");
  EXPECT_NE(steps.back().what.find("OPENAI_API_KEY"), std::string::npos) << steps.back().what;
}

TEST(ProviderTest, NameThatDoesNotResolve) {
  Script script;
  auto probe = script.probe();
  probe.resolve = [](const std::string&) { return std::string("Name or service not known"); };
  auto steps = probe_provider(configured(kOpenAi), probe);
  EXPECT_EQ(told(steps), "name:failed ");
  EXPECT_TRUE(script.heads.empty());
}

TEST(ProviderTest, ConnectionAndCertificateAreToldApart) {
  Script script;
  script.answers = {fail(FailureKind::Unavailable, Fault::Transient, "connection refused")};
  EXPECT_EQ(told(probe_provider(configured(kOpenAi), script.probe())), "name:ok connection:failed ");
  Script untrusted;
  untrusted.answers = {
      fail(FailureKind::Unavailable, Fault::Transient, "its TLS certificate is not trusted (expired)")};
  EXPECT_EQ(told(probe_provider(configured(kOpenAi), untrusted.probe())), "name:ok connection:ok tls:failed ");
}

TEST(ProviderTest, PaidPlacesThatAreOffCostNothing) {
  Script script;
  script.answers = {answer(200, R"({"data":[{"id":"gpt-4o-mini"}]})")};
  auto steps = probe_provider(configured(kOpenAi), script.probe(false));
  EXPECT_EQ(told(steps), "name:ok connection:ok tls:ok key:ok models:ok answer:skipped ");
  EXPECT_EQ(script.heads.size(), 1U);
}

TEST(ProviderTest, AModelThatIsNotListedIsNamedAndStillTried) {
  Script script;
  script.answers = {answer(200, R"([{"id":"a"},{"id":"b"}])"), answer(404, R"({"error":{"message":"no such model"}})")};
  auto steps = probe_provider(configured(kOpenAi), script.probe());
  EXPECT_EQ(told(steps), "name:ok connection:ok tls:ok key:ok models:failed answer:failed ");
  EXPECT_NE(steps[4].what.find("gpt-4o-mini"), std::string::npos);
  EXPECT_NE(steps[4].fix.find("a, b"), std::string::npos);
}

TEST(ProviderTest, AnUnpaidServerIsAskedForWhatItLists) {
  Script script;
  script.answers = {answer(200, R"({"data":[{"id":"llama3"}]})"), answer(200, R"({"choices":[{}]})")};
  auto steps = probe_provider(configured("[[provider]]\nname = \"ollama\"\n"), script.probe(false));
  EXPECT_EQ(told(steps), "name:ok connection:ok key:ok models:ok answer:ok ");
  EXPECT_NE(script.bodies[1].find("llama3"), std::string::npos);
}

TEST(ProviderTest, AnotherIntertieListsItsModelsWithTheirPlace) {
  auto steps = [](const char* model) {
    Script script;
    script.answers = {answer(200, R"({"data":[{"id":"auto"},{"id":"local/llama3"}]})"),
                      answer(200, R"({"choices":[{}]})")};
    auto text =
        std::string("[[provider]]\nname = \"intertie\"\nbase_url = \"http://127.0.0.1:4683/v1\"\nmodels = [\"") +
        model + "\"]\n";
    return told(probe_provider(configured(text.c_str()), script.probe(false)));
  };
  EXPECT_EQ(steps("llama3"), "name:ok connection:ok key:ok models:ok answer:ok ");
  EXPECT_EQ(steps("local/llama3"), "name:ok connection:ok key:ok models:ok answer:ok ");
  EXPECT_EQ(steps("ama3"), "name:ok connection:ok key:ok models:failed answer:ok ");
}

TEST(ProviderTest, HtmlAndGarbageAreNoAnswer) {
  Script script;
  script.answers = {answer(200, "<html>"), answer(200, "<html>")};
  auto steps = probe_provider(configured(kOpenAi), script.probe());
  EXPECT_EQ(told(steps), "name:ok connection:ok tls:ok key:ok models:skipped answer:failed ");
}

TEST(ProviderTest, ListsInBothShapes) {
  EXPECT_EQ(listed_models(R"({"data":[{"id":"x"},{"noid":1},{"id":3}]})").size(), 1U);
  EXPECT_EQ(listed_models(R"([{"id":"x"},{"id":"y"}])").size(), 2U);
  EXPECT_TRUE(listed_models("").empty());
  EXPECT_TRUE(listed_models("{").empty());
}

} // namespace
} // namespace intertie::bin
