#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "bin/models_files.hpp"
#include "bin/models_hash.hpp"
#include "bin/models_known.hpp"
#include "local/sha256.hpp"
#include "local/tiny_gguf.hpp"

namespace intertie::bin {
namespace {

namespace fs = std::filesystem;

class Models : public testing::Test {
 protected:
  Models() {
    std::string name = testing::TempDir() + "models-XXXXXX";
    root_ = ::mkdtemp(name.data());
    fs::create_directories(root_ + "/data/models");
    fs::create_directories(root_ + "/state");
    settings_.data_dir = root_ + "/data";
    settings_.state_dir = root_ + "/state";
    settings_.runtime_dir = root_ + "/run";
    settings_.memory_limit = 4'000'000'000;
    settings_.import_ollama = settings_.import_lmstudio = settings_.import_hf = false;
  }
  ~Models() override { fs::remove_all(root_); }
  std::string write_model(const std::string& file) {
    auto written = local::write_tiny_gguf(file, {});
    EXPECT_TRUE(written) << written.error().message;
    return file;
  }
  KnownModels scan() {
    return scan_models(settings_, [](const char*) { return std::string{}; }, 2);
  }
  std::string root_;
  local::Settings settings_;
};

TEST_F(Models, KnowsSizeMemoryAndSpeedWithoutADaemon) {
  write_model(root_ + "/data/models/Tiny.gguf");
  auto models = scan();
  ASSERT_EQ(models.list.size(), 1U);
  const auto& tiny = models.list.front();
  EXPECT_EQ(tiny.name, "tiny");
  EXPECT_EQ(tiny.origin, "intertie");
  EXPECT_EQ(tiny.state, "stopped");
  EXPECT_TRUE(tiny.fits);
  EXPECT_FALSE(tiny.rates.measured);
  EXPECT_GT(tiny.rates.output, 0);
  EXPECT_GT(tiny.memory, tiny.file_bytes);
  EXPECT_FALSE(models.daemon);
  EXPECT_FALSE(models.engine_problem.empty());
  auto json = model_json(tiny);
  EXPECT_NE(json.find("\"first_token_ms_2000\":"), std::string::npos) << json;
  EXPECT_NE(json.find("\"--offline\""), std::string::npos) << json;
}

TEST_F(Models, ABrokenFileIsListedWithItsProblem) {
  std::ofstream(root_ + "/data/models/bad.gguf") << "no model";
  auto models = scan();
  ASSERT_EQ(models.list.size(), 1U);
  EXPECT_EQ(models.list.front().state, "failed");
  EXPECT_FALSE(models.list.front().problem.empty());
  EXPECT_NE(model_json(models.list.front()).find("\"arguments\":[]"), std::string::npos);
}

TEST_F(Models, ARunningDaemonsWordCounts) {
  write_model(root_ + "/data/models/tiny.gguf");
  auto models = scan();
  overlay_status(models, R"({"local_models":[
      {"name":"tiny","state":"ready","pid":77,"running":1,"waiting":2,"calibrated":true,"output_rate":41.5,
       "prompt_rate":300,"load_seconds":0.5,"resident_bytes":123456789,"fits":true,"problem":""},
      {"name":"elsewhere","state":"stopped","file":"/x.gguf","quantisation":"Q4_0","parameters":1000000}]})");
  ASSERT_EQ(models.list.size(), 2U);
  EXPECT_TRUE(models.daemon);
  EXPECT_EQ(models.list[0].state, "ready");
  EXPECT_EQ(models.list[0].pid, 77);
  EXPECT_EQ(models.list[0].memory, 123456789U);
  EXPECT_TRUE(models.list[0].rates.measured);
  EXPECT_EQ(models.list[1].name, "elsewhere");
  EXPECT_FALSE(models.list[1].scanned);
  EXPECT_EQ(models.list[1].quantisation, "Q4_0");
}

TEST_F(Models, GarbageFromADaemonChangesNothing) {
  write_model(root_ + "/data/models/tiny.gguf");
  for (const char* text : {"", "nonsense", "{}", R"({"local_models":3})", R"({"local_models":[1,{"name":7},{}]})"}) {
    auto models = scan();
    overlay_status(models, text);
    EXPECT_EQ(models.list.size(), 1U) << text;
    EXPECT_EQ(models.list.front().state, "stopped") << text;
  }
}

TEST_F(Models, SuggestsTheNameThatWasMeant) {
  write_model(root_ + "/data/models/tiny.gguf");
  auto models = scan();
  EXPECT_TRUE(find_model(models, "local/tiny"));
  auto wrong = find_model(models, "tinny");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("did you mean tiny"), std::string::npos) << wrong.error().message;
}

TEST_F(Models, RemovesOnlyWhatIsOurs) {
  auto own = write_model(root_ + "/data/models/own.gguf");
  auto foreign = write_model(root_ + "/foreign.gguf");
  ASSERT_TRUE(local::add_by_path(settings_.data_dir, foreign, "linked"));
  auto link = root_ + "/data/models/linked.gguf";
  ASSERT_TRUE(record_hash(own, *local::sha256_file(own)));

  auto refused = remove_model(settings_.data_dir, foreign);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "not_ours");
  EXPECT_TRUE(fs::exists(foreign));

  auto unlinked = remove_model(settings_.data_dir, link);
  ASSERT_TRUE(unlinked) << unlinked.error().message;
  EXPECT_EQ(unlinked->deleted, 0U);
  EXPECT_TRUE(fs::equivalent(unlinked->left, foreign));
  EXPECT_FALSE(fs::exists(fs::symlink_status(link)));
  EXPECT_TRUE(fs::exists(foreign));

  auto size = fs::file_size(own);
  auto deleted = remove_model(settings_.data_dir, root_ + "/data/../data/models/own.gguf");
  ASSERT_TRUE(deleted) << deleted.error().message;
  EXPECT_EQ(deleted->deleted, size);
  EXPECT_FALSE(fs::exists(own));
  EXPECT_FALSE(fs::exists(hash_file_of(own)));
}

TEST_F(Models, HashesReadBackAndAreWhatSha256sumWrites) {
  auto file = root_ + "/abc.gguf";
  std::ofstream(file) << "abc";
  auto hash = local::sha256_file(file);
  ASSERT_TRUE(hash);
  EXPECT_EQ(*hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(*recorded_hash(file), "");
  ASSERT_TRUE(record_hash(file, *hash));
  EXPECT_EQ(*recorded_hash(file), *hash);
  std::ifstream in(hash_file_of(file));
  std::string line;
  std::getline(in, line);
  EXPECT_EQ(line, *hash + "  abc.gguf");
  EXPECT_FALSE(local::sha256_file(root_ + "/none"));
  EXPECT_FALSE(valid_sha256("xyz"));
}

TEST(ModelNumbers, AreReadable) {
  EXPECT_EQ(human_parameters(0), "?");
  EXPECT_EQ(human_parameters(134'515'008), "135 M");
  EXPECT_EQ(human_parameters(7'241'732'096), "7.2 B");
  EXPECT_EQ(human_milliseconds(milliseconds{85}), "85 ms");
  EXPECT_EQ(human_milliseconds(milliseconds{2440}), "2.4 s");
  EXPECT_EQ(human_milliseconds(milliseconds{150'000}), "3 min");
}

} // namespace
} // namespace intertie::bin
