#include "config/edit.hpp"

#include <gtest/gtest.h>

namespace intertie::config {
namespace {
const std::vector<std::string> kModels{"tiny", "qwen2.5-7b"};
const Environment kHome{{{"HOME", "/home/x"}}};

Result<Edit> set(std::string_view text, std::string_view key, std::optional<std::string_view> value) {
  TRY(auto parsed, parse_edit_key(key, kModels));
  return edit_config(text, "intertie.toml", parsed, value, kHome);
}
std::string text_of(const Result<Edit>& edit) { return edit ? edit->text : "FAILED: " + edit.error().message; }

std::string code_of(const Result<Edit>& edit) { return edit ? "changed: " + edit->text : edit.error().code; }

constexpr std::string_view kFile = R"(# mine, since 2026
[server]
listen = "127.0.0.1:4683"   # the usual one
# request_timeout = "10m"      # a sample
max_body = "64 MB"

[policy]   # who may see what: größer
prefer = [ "local",   # nearest
  "local" ]

[local.model."qwen2.5-7b"]
arguments = ["--temp", "0.7", "--mlock"]
)";
std::string replaced(std::string_view from, std::string_view to) {
  std::string out(kFile);
  out.replace(out.find(from), from.size(), to);
  return out;
}

TEST(Edit, ReplacesAValueAndNothingElse) {
  auto edit = set(kFile, "server.listen", "[::1]:4000");
  EXPECT_EQ(text_of(edit), replaced("127.0.0.1:4683", "[::1]:4000"));
  EXPECT_EQ(edit->before, R"("127.0.0.1:4683")");
  EXPECT_EQ(edit->after, R"("[::1]:4000")");
  EXPECT_EQ(edit->line, 3);
  EXPECT_EQ(
      text_of(set(kFile, "policy.prefer", "local")),
      replaced("[ \"local\",   # nearest\n  \"local\" ]", R"(["local"])")); // over several lines, behind an umlaut
}
TEST(Edit, PutsAKeyWhereItsSampleIs) {
  EXPECT_EQ(text_of(set(kFile, "server.request_timeout", "5m")),
            replaced("# a sample\n", "# a sample\nrequest_timeout = \"5m\"\n"));
}
TEST(Edit, PutsAKeyBehindItsTablesLast) {
  auto edit = set(kFile, "server.io_threads", "2");
  EXPECT_EQ(text_of(edit), replaced("max_body = \"64 MB\"\n", "max_body = \"64 MB\"\nio_threads = 2\n"));
  EXPECT_EQ(edit->before, "");
  EXPECT_EQ(edit->line, 6);
  EXPECT_EQ(text_of(set(kFile, "policy.paid", "true")), replaced("\"local\" ]\n", "\"local\" ]\npaid = true\n"));
}
TEST(Edit, MakesTheTableThatIsMissing) {
  auto edit = set(kFile, "local.memory_limit", "6 GB");
  EXPECT_EQ(text_of(edit), std::string(kFile) + "\n[local]\nmemory_limit = \"6 GB\"\n");
  EXPECT_EQ(edit->line, 15);
  EXPECT_EQ(text_of(set("", "log.level", "debug")), "[log]\nlevel = \"debug\"\n");
  EXPECT_EQ(text_of(set("[log]", "log.level", "debug")), "[log]\nlevel = \"debug\"\n");
  EXPECT_EQ(text_of(set("", "tiny.context", "1024")), "[local.model.tiny]\ncontext = 1024\n");
  EXPECT_EQ(text_of(set("", "local.model.other.slots", "2")), "[local.model.other]\nslots = 2\n");
}
TEST(Edit, ReachesEveryFlagOfAModel) {
  EXPECT_EQ(text_of(set(kFile, "qwen2.5-7b.context", "2048")),
            replaced("\"--mlock\"]\n", "\"--mlock\"]\ncontext = 2048\n"));
  auto again = set(kFile, "qwen2.5-7b.temp", "-1");
  EXPECT_EQ(text_of(again), replaced(R"(["--temp", "0.7", "--mlock"])", R"(["--mlock", "--temp", "-1"])"));
  EXPECT_EQ(text_of(set(again->text, "qwen2.5-7b.temp", std::nullopt)),
            replaced(R"(["--temp", "0.7", "--mlock"])", R"(["--mlock"])"));
  EXPECT_EQ(text_of(set(kFile, "qwen2.5-7b.no-mmap", "")), replaced(R"("--mlock"])", R"("--mlock", "--no-mmap"])"));
  EXPECT_EQ(text_of(set("", "tiny.cache-type-k", "q8_0")),
            "[local.model.tiny]\narguments = [\"--cache-type-k\", \"q8_0\"]\n");
  EXPECT_EQ(code_of(set(kFile, "tiny.temp", std::nullopt)), "not_set");
  EXPECT_EQ(code_of(set(kFile, "tiny.a b", "1")), "bad_key");
}
TEST(Edit, TakesAKeyOut) {
  auto edit = set(kFile, "server.listen", std::nullopt);
  EXPECT_EQ(text_of(edit), replaced("listen = \"127.0.0.1:4683\"   # the usual one\n", ""));
  EXPECT_EQ(edit->after, "");
  EXPECT_EQ(code_of(set(kFile, "server.socket", std::nullopt)), "not_set");
}
TEST(Edit, ReadsAValueAsItWasMeant) {
  EXPECT_EQ(set("", "local.threads", "4")->after, "4");
  EXPECT_EQ(set("", "local.keep_alive", "\"never\"")->after, "\"never\"");
  EXPECT_EQ(set("", "local.stores", "/a, /b")->after, R"(["/a", "/b"])");
  EXPECT_EQ(set("", "local.engine", R"(/a "quoted"\path)")->after, R"("/a \"quoted\"\\path")");
  EXPECT_EQ(set("", "policy.matrix.C2", R"(["allow","allow","block","block","block"])")->after,
            R"(["allow","allow","block","block","block"])");
}
TEST(Edit, RefusesWhatTheDaemonWouldRefuse) {
  auto wrong = set(kFile, "server.io_threads", "many");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("intertie.toml:6:"), std::string::npos) << wrong.error().message;
  EXPECT_NE(set("", "server.listen", "0.0.0.0:80").error().message.find("loopback"), std::string::npos);
  EXPECT_FALSE(set("", "log.level", "debug\"\n[policy]\npaid = true"));
  EXPECT_FALSE(set("", "local.threads", "1 # x"));
}
TEST(Edit, RefusesWhatItCantChangeSafely) {
  EXPECT_EQ(code_of(set("server.listen = \"127.0.0.1:1\"\n", "server.socket", "none")), "edit_by_hand");
  EXPECT_EQ(code_of(set("server = {listen = \"127.0.0.1:1\"}\n", "server.socket", "none")), "edit_by_hand");
  EXPECT_EQ(text_of(set("server.listen = \"127.0.0.1:1\"\n", "server.listen", "127.0.0.1:2")),
            "server.listen = \"127.0.0.1:2\"\n");
  EXPECT_EQ(code_of(set("server = {io_threads = 2, listen = \"[::1]:1\"}\n", "server.listen", std::nullopt)),
            "edit_by_hand");
  EXPECT_NE(set("[server\n", "log.level", "info").error().message.find("mend it first"), std::string::npos);
}
TEST(Edit, TakesAnyPieceOfAFile) {
  int changed = 0;
  for (std::size_t size = 0; size <= kFile.size(); ++size)
    for (const auto* key : {"server.listen", "server.io_threads", "policy.prefer", "local.threads", "qwen2.5-7b.temp"})
      for (auto piece : {std::string(kFile.substr(0, size)), std::string(kFile.substr(size))}) {
        auto edit = set(piece, key, "127.0.0.1:1");
        if (!edit) continue;
        ++changed;
        EXPECT_TRUE(parse_config(edit->text, "x", kHome)) << edit->text;
      }
  EXPECT_GT(changed, 100);
}
TEST(Edit, KnowsItsKeys) {
  EXPECT_NE(set("", "server.lisen", "x").error().message.find("did you mean server.listen"), std::string::npos);
  EXPECT_NE(set("", "tini.temp", "1").error().message.find("did you mean tiny.temp"), std::string::npos);
  EXPECT_EQ(code_of(set("", "provider.openai", "x")), "bad_key");
  EXPECT_EQ(code_of(set("", "", "x")), "bad_key");
  for (const auto& key : settable_keys()) EXPECT_TRUE(parse_edit_key(key, {})) << key;
}
} // namespace
} // namespace intertie::config
