#include "local/arguments.hpp"

#include <gtest/gtest.h>

#include "local/test_rig.hpp"

namespace intertie::local {
namespace {
std::string joined(const std::vector<std::string>& words) {
  std::string out = " ";
  for (const auto& word : words) out += word + " ";
  return out;
}

TEST(Arguments, AreThePlan) {
  Gguf model;
  model.context = 32'768;
  model.layers = 2;
  model.heads = model.embedding = 4;
  Settings settings;
  settings.state_dir = "/s";
  auto plan = plan_child(settings, {.slots = 2, .arguments = {"--lora", "x"}}, model, "/m.gguf", 4);
  plan.socket = "/r/e.sock";
  auto words = joined(child_arguments(plan));
  for (const auto* part : {" -m /m.gguf ", " --host /r/e.sock ", " -np 2 ", " -c 16384 ", " -t 3 ", " -tb 4 ",
                           " -b 256 ", " --offline ", " --no-ui ", " --poll 0 ", " -fit off ", " -n 4096 "})
    EXPECT_NE(words.find(part), std::string::npos) << part << words;
  EXPECT_TRUE(words.ends_with(" --lora x ")); // a person's own come last and win
}
TEST(Arguments, ContextAndThreadsHaveLimits) {
  Gguf small;
  small.context = 512;
  EXPECT_EQ(plan_child({}, {}, small, "", 1).fit.context, 512U);
  EXPECT_EQ(plan_child({}, {}, small, "", 1).threads, 1);
  EXPECT_EQ(plan_child({}, {}, small, "", 1, 1500).fit.batch, 256U);
  EXPECT_EQ(plan_child({}, {}, small, "", 1, 800).fit.batch, 128U);
  EXPECT_EQ(plan_child({}, {}, small, "", 1, 400).fit.batch, 64U);
  EXPECT_EQ(plan_child({}, {}, small, "", 1, 20).fit.batch, 32U);
  Settings dedicated;
  dedicated.dedicated = true;
  EXPECT_EQ(plan_child(dedicated, {}, small, "", 8).threads, 8);
  EXPECT_EQ(plan_child({}, {.context = 100'000, .slots = 1000}, small, "", 8).fit.slots, 64U);
}
TEST(Arguments, PlansWhatAPersonsOwnFlagsMakeOfIt) {
  Gguf model;
  model.context = 8192;
  auto fit_of = [&](std::vector<std::string> own) {
    ModelFlags flags;
    flags.slots = 2;
    flags.arguments = std::move(own);
    return plan_child({}, flags, model, "", 4).fit;
  };
  EXPECT_EQ(fit_of({"-b", "512"}).batch, 256U); // still computed on 256 at a time
  EXPECT_EQ(fit_of({"-b", "512", "--ubatch-size", "512"}).batch, 512U);
  EXPECT_EQ(fit_of({"--batch-size", "64"}).batch, 64U);
  EXPECT_EQ(fit_of({"-b", "64", "-b", "128"}).batch, 128U);
  EXPECT_EQ(fit_of({"-b", "many", "-ub", "-1", "-b"}).batch, 256U);
  EXPECT_EQ(fit_of({"-c", "4096"}).context, 2048U);
  EXPECT_EQ(fit_of({"--parallel", "4", "--ctx-size", "4096"}).context, 1024U);
  EXPECT_EQ(fit_of({"-np", "4"}).slots, 4U);
}
TEST(Arguments, EnvironmentIsClean) {
  const char* ours[] = {"PATH=/bin",     "LLAMA_ARG_MODEL=x",      "OPENAI_API_KEY=secret",
                        "HTTPS_PROXY=p", "CUDA_VISIBLE_DEVICES=0", nullptr};
  auto words = joined(child_environment({}, Secret{"k"}, ours));
  EXPECT_EQ(words.find("secret"), std::string::npos);
  EXPECT_EQ(words.find("LLAMA_ARG"), std::string::npos);
  EXPECT_EQ(words.find("PROXY"), std::string::npos);
  for (const auto* part : {" PATH=/bin ", " CUDA_VISIBLE_DEVICES=0 ", " LLAMA_API_KEY=k ", " OMP_WAIT_POLICY=passive "})
    EXPECT_NE(words.find(part), std::string::npos) << part;
  ChildPlan dedicated;
  dedicated.dedicated = true;
  EXPECT_EQ(joined(child_environment(dedicated, {}, nullptr)).find("OMP"), std::string::npos);
}
TEST(Arguments, FindsTheEngine) {
  Rig rig;
  auto folder = rig.dir + "/data/engines/one/bin";
  std::filesystem::create_directories(folder);
  EXPECT_NE(find_engine(rig.settings, "").error().message.find("no engine found"), std::string::npos);
  std::filesystem::create_symlink("/bin/true", folder + "/llama-server");
  EXPECT_EQ(find_engine(rig.settings, "").value(), folder + "/llama-server");
  rig.settings.data_dir = "/nowhere";
  EXPECT_EQ(find_engine(rig.settings, "/x::" + folder).value(), folder + "/llama-server");
  rig.settings.engine = "/nowhere/llama-server";
  EXPECT_NE(find_engine(rig.settings, folder).error().message.find("not a program"), std::string::npos);
  rig.settings.engine = "none";
  EXPECT_EQ(find_engine(rig.settings, folder).error().fault, Fault::LocalResource);
}
} // namespace
} // namespace intertie::local
