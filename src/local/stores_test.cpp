#include "local/stores.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "local/test_rig.hpp"

namespace intertie::local {
namespace {
namespace fs = std::filesystem;

class Stores : public ::testing::Test {
 protected:
  void put(const std::string& path, const TinyShape& shape = {}) {
    fs::create_directories(fs::path(path).parent_path());
    ASSERT_TRUE(write_tiny_gguf(path, shape));
  }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
  }
  std::vector<std::string> names() {
    std::vector<std::string> out;
    for (const auto& entry : catalogue.scan(places)) out.push_back(entry.name + " " + entry.origin);
    return out;
  }
  Rig rig;
  StorePlaces places{.own = rig.dir + "/data/models",
                     .extra = {},
                     .ollama = {rig.dir + "/ollama"},
                     .lmstudio = {rig.dir + "/lm"},
                     .huggingface = {rig.dir + "/hub"}};
  Catalogue catalogue;
};

TEST_F(Stores, FindsModelsWhereTheyLie) {
  put(rig.models() + "Own-Model.Q4_0.gguf");
  std::string digest(64, 'a');
  put(rig.dir + "/ollama/blobs/sha256-" + digest, {.seed = 2});
  auto manifest = R"({"layers":[{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:b"},)"
                  R"({"mediaType":"application/vnd.ollama.image.model","digest":"sha256:)" +
                  digest + "\"}]}";
  write(rig.dir + "/ollama/manifests/registry.ollama.ai/library/llama3.2/1b", manifest);
  write(rig.dir + "/ollama/manifests/registry.ollama.ai/library/broken/x", "{");
  write(rig.dir + "/ollama/manifests/registry.ollama.ai/library/evil/x",
        R"({"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:../../../../etc/passwd"}]})");
  put(rig.dir + "/lm/someone/repo/Small.gguf", {.seed = 3});
  put(rig.dir + "/hub/models--o--n/blobs/abc", {.seed = 4});
  fs::create_directories(rig.dir + "/hub/models--o--n/snapshots/r1");
  fs::create_directories(rig.dir + "/hub/models--o--n/snapshots/r2");
  fs::create_symlink("../../blobs/abc", rig.dir + "/hub/models--o--n/snapshots/r1/Hub.gguf");
  fs::create_symlink("../../blobs/abc", rig.dir + "/hub/models--o--n/snapshots/r2/Hub.gguf");
  EXPECT_EQ(names(), (std::vector<std::string>{"own-model.q4_0 intertie", "llama3.2:1b ollama", "small lmstudio",
                                               "hub huggingface"}));
  EXPECT_EQ(names().size(), 4U); // the same from memory
}
TEST_F(Stores, NamesAreUniqueAndFilesAreListedOnce) {
  put(rig.models() + "m.gguf");
  put(rig.dir + "/lm/a/b/m.gguf", {.seed = 2});
  fs::create_directories(rig.dir + "/hub");
  fs::create_symlink(rig.models() + "m.gguf", rig.dir + "/hub/again.gguf");
  EXPECT_EQ(names(), (std::vector<std::string>{"m intertie", "m@lmstudio lmstudio"}));
}
TEST_F(Stores, WhatCannotChatIsNotOffered) {
  put(rig.models() + "embed.gguf", {.architecture = "bert"});
  put(rig.models() + "mmproj.gguf", {.architecture = "clip"});
  write(rig.models() + "broken.gguf", "nonsense");
  write(rig.dir + "/lm/a/b/broken2.gguf", "nonsense");
  auto entries = catalogue.scan(places);
  ASSERT_EQ(entries.size(), 1U); // ours is shown with its problem, the others' is none of our business
  EXPECT_EQ(entries[0].name, "broken");
  EXPECT_FALSE(entries[0].problem.empty());
}
TEST_F(Stores, SplitModelsAreOne) {
  put(rig.models() + "big-00001-of-00002.gguf");
  put(rig.models() + "big-00002-of-00002.gguf");
  auto entries = catalogue.scan(places);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].name, "big");
  EXPECT_EQ(entries[0].model.file_bytes, 2 * fs::file_size(rig.models() + "big-00001-of-00002.gguf"));
  fs::remove(rig.models() + "big-00002-of-00002.gguf");
  fs::last_write_time(rig.models() + "big-00001-of-00002.gguf", fs::file_time_type::clock::now() + seconds{5});
  EXPECT_FALSE(catalogue.scan(places).at(0).problem.empty());
}
TEST_F(Stores, AChangedFileIsReadAgain) {
  put(rig.models() + "m.gguf", {.layers = 2});
  EXPECT_EQ(catalogue.scan(places).at(0).model.layers, 2U);
  put(rig.models() + "m.gguf", {.layers = 3});
  EXPECT_EQ(catalogue.scan(places).at(0).model.layers, 3U);
}
TEST_F(Stores, AddsByPathWithoutCopying) {
  put(rig.dir + "/elsewhere/Nice.gguf");
  auto name = add_by_path(rig.dir + "/data", rig.dir + "/elsewhere/Nice.gguf", "");
  ASSERT_TRUE(name) << name.error().message;
  EXPECT_EQ(*name, "nice");
  EXPECT_TRUE(fs::is_symlink(rig.models() + "Nice.gguf"));
  EXPECT_EQ(names(), (std::vector<std::string>{"nice path"}));
  EXPECT_TRUE(add_by_path(rig.dir + "/data", rig.dir + "/elsewhere/Nice.gguf", "")); // already ours
  put(rig.dir + "/other/Nice.gguf", {.seed = 9});
  EXPECT_NE(add_by_path(rig.dir + "/data", rig.dir + "/other/Nice.gguf", "").error().message.find("taken"),
            std::string::npos);
  EXPECT_EQ(add_by_path(rig.dir + "/data", rig.dir + "/other/Nice.gguf", "../x").error().kind, FailureKind::BadRequest);
  EXPECT_EQ(add_by_path(rig.dir + "/data", "/nowhere.gguf", "").error().kind, FailureKind::NotFound);
  write(rig.dir + "/text.gguf", "text");
  EXPECT_FALSE(add_by_path(rig.dir + "/data", rig.dir + "/text.gguf", ""));
}
TEST(StorePlacesTest, FollowTheEnvironment) {
  Settings settings;
  settings.data_dir = "/d";
  auto places = store_places(settings, [](const char* name) -> std::string {
    return std::string_view{name} == "HOME" ? "/h" : std::string_view{name} == "OLLAMA_MODELS" ? "/o" : "";
  });
  EXPECT_EQ(places.own, "/d/models");
  EXPECT_EQ(places.ollama.front(), "/o");
  EXPECT_EQ(places.huggingface.front(), "/h/.cache/huggingface/hub");
  settings.import_hf = settings.import_ollama = settings.import_lmstudio = false;
  places = store_places(settings, [](const char*) { return std::string("/x"); });
  EXPECT_TRUE(places.huggingface.empty() && places.ollama.empty() && places.lmstudio.empty());
}
} // namespace
} // namespace intertie::local
