// Against a real llama-server, when INTERTIE_TEST_ENGINE names one (and INTERTIE_TEST_MODEL a chat model's GGUF).
#include <signal.h>

#include <cstdlib>

#include "local/test_rig.hpp"

namespace intertie::local {
namespace {
class RealEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* engine = std::getenv("INTERTIE_TEST_ENGINE");
    if (engine == nullptr) GTEST_SKIP() << "INTERTIE_TEST_ENGINE is not set";
    rig.settings.engine = engine;
  }
  Rig rig;
};

TEST_F(RealEngine, TinyModelStartsAnswersAndStops) {
  rig.add_tiny("tiny");
  rig.start();
  auto lease = rig.acquire("tiny");
  ASSERT_TRUE(lease) << lease.error().message;
  auto status = rig.status("tiny");
  EXPECT_EQ(status.state, State::Ready);
  EXPECT_EQ(status.running, 1);
  EXPECT_GT(status.pid, 0);
  auto answer = rig.ask(*lease, "/v1/chat/completions",
                        R"({"messages":[{"role":"user","content":"Hello"}],"max_tokens":8,"ignore_eos":true})");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200) << answer->body;
  auto refused = rig.run(ask_child(lease->socket(), Secret{"wrong"}, "/v1/models", "{}", milliseconds{5000}));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 401);
  { auto released = std::move(*lease); }
  EXPECT_TRUE(rig.until([&] { return rig.status("tiny").running == 0; }));
  ASSERT_TRUE(rig.engines->unload("tiny"));
  EXPECT_TRUE(rig.until_state("tiny", State::Stopped));
  EXPECT_NE(::kill(status.pid, 0), 0);
  EXPECT_FALSE(std::filesystem::exists(lease->socket()));
}
} // namespace
} // namespace intertie::local
