#include "local/pull.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "local/sha256.hpp"
#include "local/test_rig.hpp"
#include "net/imposter.hpp"

namespace intertie::local {
namespace {
using net::Script;

class Pull : public ::testing::Test {
 protected:
  Pull() : file(tiny_gguf({})) {
    std::ofstream(rig.dir + "/file", std::ios::binary) << file;
    hash = sha256_file(rig.dir + "/file").value();
    order = {.url = server.url("/m/tiny.gguf"),
             .sha256 = hash,
             .name = "",
             .data_dir = rig.dir + "/data",
             .quota = 0,
             .ca_file = "",
             .attempts = 3};
  }
  Result<std::string> pull() {
    net::Worker worker(rig.clock);
    net::Client client(worker);
    auto call = rig.make_call(seconds{20});
    std::optional<Result<std::string>> out;
    worker.spawn(body(client, call, out));
    std::optional<Result<std::string>> got;
    while (!out) {
      worker.context().restart();
      worker.context().run_one_for(milliseconds{100});
    }
    return std::move(*out);
  }
  Task<> body(net::Client& client, Call& call, std::optional<Result<std::string>>& out) {
    out.emplace(co_await local::pull(client, order, call, [this](const PullProgress& now) { last = now; }));
  }
  static Script part(std::string body, std::size_t from, std::size_t total) {
    auto script = Script::json(std::move(body), 206);
    script.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", from, total - 1, total));
    return script;
  }
  std::string kept() const { return rig.models() + "tiny.gguf"; }
  std::size_t files() const {
    std::filesystem::directory_iterator at(rig.models()), end;
    return static_cast<std::size_t>(std::distance(at, end));
  }
  Rig rig;
  net::Imposter server;
  std::string file, hash;
  PullOrder order;
  PullProgress last;
};

TEST_F(Pull, FetchesChecksAndNames) {
  server.when("/m/tiny.gguf", Script::json(file));
  auto name = pull();
  ASSERT_TRUE(name) << name.error().message;
  EXPECT_EQ(*name, "tiny");
  EXPECT_EQ(sha256_file(kept()).value(), hash);
  EXPECT_EQ(last.done, file.size());
  EXPECT_EQ(last.total, file.size());
  EXPECT_EQ(files(), 1U);
  EXPECT_TRUE(pull()); // there already: nothing is asked
  EXPECT_EQ(server.seen().size(), 1U);
}
TEST_F(Pull, ResumesWhereTheConnectionWasCut) {
  auto cut = Script::json(file);
  cut.fails = Script::Fails::Cut;
  cut.after = 100'000;
  server.when("/m/tiny.gguf", cut, 1);
  server.when("bytes", cut, 0);
  // The rule added last wins: first a cut answer once, then the rest.
  net::Imposter second;
  auto first = pull();
  if (!first) { // the second answer starts elsewhere: 404 ends it, the part stays
    auto parts = files();
    EXPECT_EQ(parts, 1U);
    EXPECT_FALSE(std::filesystem::exists(kept()));
  }
  std::string have;
  for (const auto& entry : std::filesystem::directory_iterator(rig.models())) {
    std::ifstream in(entry.path(), std::ios::binary);
    have.assign(std::istreambuf_iterator<char>(in), {});
  }
  ASSERT_LT(have.size(), file.size());
  ASSERT_GT(have.size(), 0U);
  EXPECT_EQ(file.substr(0, have.size()), have);
  server.when("/m/tiny.gguf", part(file.substr(have.size()), have.size(), file.size()));
  auto name = pull();
  ASSERT_TRUE(name) << name.error().message;
  EXPECT_EQ(server.seen().back().header("Range"), fmt::format("bytes={}-", have.size()));
  EXPECT_EQ(sha256_file(kept()).value(), hash);
}
TEST_F(Pull, StartsAgainWithAServerThatKnowsNoRanges) {
  std::ofstream(rig.models() + fmt::format(".tiny.{}.part", hash.substr(0, 12)), std::ios::binary)
      << file.substr(0, 5000);
  server.when("/m/tiny.gguf", Script::json(file));
  auto name = pull();
  ASSERT_TRUE(name) << name.error().message;
  EXPECT_EQ(sha256_file(kept()).value(), hash);
}
TEST_F(Pull, AWholePartNeedsNoMore) {
  std::ofstream(rig.models() + fmt::format(".tiny.{}.part", hash.substr(0, 12)), std::ios::binary) << file;
  auto script = Script::json("", 416);
  script.headers.emplace_back("Content-Range", fmt::format("bytes */{}", file.size()));
  server.when("/m/tiny.gguf", script);
  auto name = pull();
  ASSERT_TRUE(name) << name.error().message;
}
TEST_F(Pull, WrongHashKeepsNothing) {
  auto other = file;
  other.back() = static_cast<char>(other.back() ^ 1);
  server.when("/m/tiny.gguf", Script::json(other));
  auto name = pull();
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().code, "wrong_hash");
  EXPECT_EQ(files(), 0U);
}
TEST_F(Pull, WhatIsNoModelIsNotKept) {
  std::string html = "<html>sign in</html>";
  std::ofstream(rig.dir + "/html") << html;
  order.sha256 = sha256_file(rig.dir + "/html").value();
  server.when("/m/tiny.gguf", Script::json(html));
  EXPECT_NE(pull().error().message.find("not a GGUF"), std::string::npos);
  EXPECT_EQ(files(), 0U);
}
TEST_F(Pull, CutAgainAndAgainGivesUpAndSaysHowToGoOn) {
  server.when("/m/tiny.gguf", Script::failing(Script::Fails::Cut, 0));
  auto name = pull();
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().kind, FailureKind::UpstreamBroken) << name.error().message;
}
TEST_F(Pull, QuotaIsCheckedBeforeAByteIsWritten) {
  order.quota = 1000;
  server.when("/m/tiny.gguf", Script::json(file));
  auto name = pull();
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().kind, FailureKind::TooLarge);
  EXPECT_EQ(name.error().code, "over_disk_limit");
  EXPECT_NE(name.error().message.find("disk_limit"), std::string::npos);
  EXPECT_EQ(files(), 0U);
  order.quota = file.size();
  EXPECT_TRUE(pull()); // exactly as much
}
TEST_F(Pull, QuotaCountsWhatWasPulledAndNotWhatWasAdded) {
  std::ofstream(rig.dir + "/elsewhere.gguf", std::ios::binary) << file;
  std::filesystem::create_symlink(rig.dir + "/elsewhere.gguf", rig.models() + "added.gguf");
  server.when("/m/tiny.gguf", Script::json(file));
  order.quota = file.size() + 4999;
  std::ofstream(rig.models() + "older.gguf", std::ios::binary) << std::string(5000, 'x');
  EXPECT_EQ(pull().error().code, "over_disk_limit");
  ++order.quota;
  EXPECT_TRUE(pull());
}
TEST_F(Pull, QuotaCountsOwnPartOnce) {
  std::ofstream(rig.models() + fmt::format(".tiny.{}.part", hash.substr(0, 12)), std::ios::binary)
      << file.substr(0, 5000);
  server.when("/m/tiny.gguf", part(file.substr(5000), 5000, file.size()));
  order.quota = file.size();
  auto name = pull();
  ASSERT_TRUE(name) << name.error().message;
}
TEST_F(Pull, QuotaHoldsForAServerThatDoesNotSayTheSize) {
  auto silent = Script::json(file);
  silent.framing = Script::Framing::Chunked;
  server.when("/m/tiny.gguf", silent);
  std::ofstream(rig.models() + "older.gguf", std::ios::binary) << std::string(5000, 'x');
  order.quota = file.size() + 4999;
  auto name = pull();
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().code, "over_disk_limit");
  order.quota = file.size() + 5000 + file.size(); // what came is kept, to be gone on with
  EXPECT_TRUE(pull());
}
TEST_F(Pull, FollowsRedirectsButNotInACircle) {
  auto go = Script::json("", 302);
  go.headers.emplace_back("Location", server.url("/blob?sig=1"));
  server.when("/m/tiny.gguf", go);
  server.when("/blob?sig=1", Script::json(file));
  ASSERT_TRUE(pull());
  std::filesystem::remove(kept());
  auto round = Script::json("", 302);
  round.headers.emplace_back("Location", "/m/tiny.gguf");
  server.when("/blob", round);
  EXPECT_NE(pull().error().message.find("circle"), std::string::npos);
}
TEST_F(Pull, RefusesBadOrders) {
  server.when("", Script::json(file));
  order.sha256 = "abc";
  EXPECT_EQ(pull().error().kind, FailureKind::BadRequest);
  order.sha256 = hash;
  order.url = "file:///etc/passwd";
  EXPECT_EQ(pull().error().kind, FailureKind::BadRequest);
  order.url = server.url("/m/tiny.gguf");
  order.name = "../x";
  EXPECT_EQ(pull().error().kind, FailureKind::BadRequest);
  order.name = "";
  server.when("", Script::json("", 404));
  EXPECT_EQ(pull().error().upstream_status, 404);
}
} // namespace
} // namespace intertie::local
