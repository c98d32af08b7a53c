#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <latch>
#include <thread>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger/ledger.hpp"
#include "ledger/prices.hpp"
#include "ledger/rows.hpp"
#include "store/database.hpp"

namespace intertie::ledger {
namespace {
namespace fs = std::filesystem;

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    std::string name = (fs::temp_directory_path() / "intertie-ledger-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    file_ = (folder_ / "state" / "receipts.db").string();
  }
  ~LedgerTest() override { fs::remove_all(folder_); }
  std::unique_ptr<Ledger> open() {
    auto ledger = Ledger::open(file_);
    EXPECT_TRUE(ledger.has_value()) << (ledger ? "" : ledger.error().message);
    return ledger ? *std::move(ledger) : nullptr;
  }
  fs::path folder_;
  std::string file_;
};

Story story() {
  Story s;
  s.endpoint = "chat.completions";
  s.caller = "curl";
  s.asked_model = "auto";
  s.finding_types = {"EMAIL×2"};
  s.class_known = true;
  s.data_class = DataClass::C2;
  s.policy_digest = "0123456789abcdef";
  s.legs = {{"office", "qwen", Place::Edge, "nearest_that_fits", "transient", "it hung up: {\"}\\"},
            {"local", "small", Place::Device, "fallback", "", ""}};
  s.judged = {{"local", "small", Place::Device, true, "fallback", "number 2 in line"}};
  s.counterfactuals = {"openai (cloud) if paid"};
  return s;
}
Receipt receipt(std::uint64_t id) {
  Receipt r;
  r.id = CallId{id};
  r.usage = {12, 34, 5, true};
  r.micro_usd = 42;
  r.price_known = true;
  r.decide_us = 3;
  r.first_token_us = 90'000;
  r.total_us = 1'000'000;
  r.leg_times = {{0, 1000}, {90'000, 999'000}};
  r.tell = story;
  return r;
}
// The writer stays busy with its Story until `go_on`.
Receipt blocker(std::latch& writing, std::latch& go_on) {
  auto r = receipt(1);
  r.tell = [&] {
    writing.count_down();
    go_on.wait();
    return Story{};
  };
  return r;
}
std::uint64_t spread(std::uint64_t n) { return n << 45; } // ids whose first characters differ

TEST_F(LedgerTest, KeepsAReceiptAndShowsIt) {
  auto ledger = open();
  ledger->post(receipt(spread(3)));
  ledger->flush();
  EXPECT_EQ(ledger->counters().written, 1U);
  auto json = receipt_json(file_, to_string(CallId{spread(3)}));
  ASSERT_TRUE(json.has_value()) << json.error().message;
  EXPECT_EQ(
      *json,
      R"({"id":")" + to_string(CallId{spread(3)}) +
          R"(","at":"2024-01-01T03:29:42.912Z","endpoint":"chat.completions","caller":"curl","asked_model":"auto",)"
          R"("provider":"local","model":"small","place":"device","stream":false,"outcome":"answered","status":200,)"
          R"("data_class":"C2","findings":["EMAIL×2"],"prompt_tokens":12,"completion_tokens":34,"cached_tokens":5,)"
          R"("tokens_measured":true,"micro_usd":42,"decide_us":3,"first_token_us":90000,"total_us":1000000,)"
          R"("policy":"0123456789abcdef","legs":[{"provider":"office","model":"qwen","place":"edge",)"
          R"("why":"nearest_that_fits","failure":"transient","failure_message":"it hung up: {\"}\\","first_token_us":0,)"
          R"("total_us":1000},{"provider":"local","model":"small","place":"device","why":"fallback","failure":null,)"
          R"("first_token_us":90000,"total_us":999000}],"judged":[{"provider":"local","model":"small","place":"device",)"
          R"("chosen":true,"code":"fallback","sentence":"number 2 in line"}],"counterfactuals":["openai (cloud) if paid"]})");
}

TEST_F(LedgerTest, FindsByPrefixLastAndSaysWhatIsWrong) {
  EXPECT_EQ(receipt_json(file_, "last").error().code, "no_receipts");
  auto ledger = open();
  EXPECT_NE(receipt_json(file_, "last").error().message.find("no receipts yet"), std::string::npos);
  for (std::uint64_t n : {1, 2, 3}) ledger->post(receipt(spread(n)));
  ledger->post(receipt(spread(3) + 1));
  ledger->flush();
  auto second = to_string(CallId{spread(2)});
  auto lower = second.substr(0, 6);
  for (char& c : lower) c = static_cast<char>(std::tolower(c));
  EXPECT_NE(receipt_json(file_, lower)->find(second), std::string::npos);
  EXPECT_NE(receipt_json(file_, "last")->find(to_string(CallId{spread(3) + 1})), std::string::npos);
  auto several = receipt_json(file_, to_string(CallId{spread(3)}).substr(0, 8));
  ASSERT_FALSE(several.has_value());
  EXPECT_NE(several.error().message.find("beginning of several"), std::string::npos);
  for (std::string_view bad : {"", "abc", "not an id", "UUUUU", "00000000000000000"})
    EXPECT_EQ(receipt_json(file_, bad).error().code, "bad_receipt_id") << bad;
  auto none = receipt_json(file_, "ZZZZZZ");
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().kind, FailureKind::NotFound);
  EXPECT_NE(none.error().message.find("did you mean"), std::string::npos);
}

TEST_F(LedgerTest, ListsRecentOldestFirstAndFollows) {
  auto ledger = open();
  for (std::uint64_t n = 1; n <= 5; ++n) ledger->post(receipt(spread(n)));
  ledger->flush();
  auto newest = recent_json(file_, 2, std::nullopt);
  ASSERT_EQ(newest->size(), 2U);
  EXPECT_NE(newest->at(0).find(to_string(CallId{spread(4)})), std::string::npos);
  EXPECT_NE(newest->at(1).find(to_string(CallId{spread(5)})), std::string::npos);
  auto next = recent_json(file_, 10, CallId{spread(3)});
  ASSERT_EQ(next->size(), 2U);
  EXPECT_NE(next->at(0).find(to_string(CallId{spread(4)})), std::string::npos);
}

TEST_F(LedgerTest, DrainsWhenItIsDestroyed) {
  {
    auto ledger = open();
    for (std::uint64_t n = 1; n <= 100; ++n) ledger->post(receipt(n));
  }
  EXPECT_EQ(recent_json(file_, 1000, std::nullopt)->size(), 100U);
}

TEST_F(LedgerTest, ManyThreadsPost) {
  auto ledger = open();
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t n = 0; n < 500; ++n) ledger->post(receipt(t * 1000 + n));
    });
  for (auto& thread : threads) thread.join();
  ledger->flush();
  EXPECT_EQ(ledger->counters().written, 2000U);
  EXPECT_EQ(recent_json(file_, 9999, std::nullopt)->size(), 2000U);
}

TEST_F(LedgerTest, AFullRingDropsTheOldestAndCountsThem) {
  auto ledger = open();
  std::latch writing(1), go_on(1);
  ledger->post(blocker(writing, go_on));
  writing.wait(); // the writer is busy: everything now stays in the ring
  for (std::uint64_t n = 0; n < 8192 + 100; ++n) ledger->post(receipt(spread(1) + n));
  go_on.count_down();
  ledger->flush();
  auto counters = ledger->counters();
  EXPECT_EQ(counters.dropped, 100U);
  EXPECT_EQ(counters.written, 8193U);
  EXPECT_EQ(counters.posted, counters.written + counters.dropped + counters.failed);
  EXPECT_EQ(receipt_json(file_, to_string(CallId{spread(1) + 99})).error().kind, FailureKind::NotFound);
  EXPECT_TRUE(receipt_json(file_, to_string(CallId{spread(1) + 100})).has_value());
}

TEST_F(LedgerTest, ABrokenDatabaseKeepsServingAndRecovers) {
  auto ledger = open();
  auto other = store::Database::open(file_, store::Mode::ReadWrite);
  ASSERT_TRUE(other->execute("ALTER TABLE receipts RENAME TO away").has_value());
  for (std::uint64_t n = 1; n <= 3; ++n) ledger->post(receipt(n));
  ledger->flush();
  EXPECT_EQ(ledger->counters().failed, 3U);
  ASSERT_TRUE(other->execute("ALTER TABLE away RENAME TO receipts").has_value());
  ledger->post(receipt(4));
  ledger->flush();
  EXPECT_EQ(ledger->counters().written, 1U);
}

TEST_F(LedgerTest, OpenSaysWhatToDoAboutABadFile) {
  fs::create_directories(folder_ / "state");
  std::ofstream(file_) << std::string(8192, 'x');
  auto damaged = Ledger::open(file_);
  ASSERT_FALSE(damaged.has_value());
  EXPECT_NE(damaged.error().message.find("move it away"), std::string::npos) << damaged.error().message;
  fs::remove(file_);
  {
    auto newer = store::Database::open(file_, store::Mode::ReadWrite);
    ASSERT_TRUE(newer->execute("PRAGMA user_version=99").has_value());
  }
  EXPECT_EQ(Ledger::open(file_).error().kind, FailureKind::Unsupported);
  EXPECT_EQ(recent_json(file_, 1, std::nullopt).error().kind, FailureKind::Unsupported);
  auto nowhere = Ledger::open("/proc/intertie/receipts.db");
  EXPECT_EQ(nowhere.error().kind, FailureKind::Denied);
}

TEST_F(LedgerTest, TheFileIsPrivateAndTheFolderToo) {
  auto ledger = open();
  struct stat facts{};
  ASSERT_EQ(::stat(file_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
  ASSERT_EQ(::stat((folder_ / "state").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700U);
}

constexpr std::string_view kOldRows =
    "INSERT INTO receipts VALUES('03ABCDEFGHJKM',1,'e','c','auto','p','m','edge',1,'failed',502,'C2','[\"EMAIL×2\"]',"
    "1,2,3,1,NULL,4,5,6,'d','[{{\"why\":\"named\",\"total_us\":9}}]',{});"
    "INSERT INTO receipts VALUES('03ABCDEFGHJKN',1,'e','c','auto',NULL,NULL,NULL,0,'refused',403,NULL,'[]',0,0,0,0,"
    "NULL,1,0,5,'','[]',{});";
void expect_old_rows(const std::string& file) {
  EXPECT_EQ(recent_json(file, 9, std::nullopt)->size(), 2U);
  EXPECT_EQ(receipt_json(file, "03ABCDEFGHJKM").value_or("none"),
            R"({"id":"03ABCDEFGHJKM","at":"2024-06-14T05:14:04.478Z","endpoint":"e","caller":"c","asked_model":"auto",)"
            R"("provider":"p","model":"m","place":"edge","stream":true,"outcome":"failed","status":502,)"
            R"("data_class":"C2","findings":["EMAIL×2"],"prompt_tokens":1,"completion_tokens":2,"cached_tokens":3,)"
            R"("tokens_measured":true,"micro_usd":null,"decide_us":4,"first_token_us":5,"total_us":6,"policy":"d",)"
            R"("legs":[{"why":"named","total_us":9}],"judged":[{"code":"policy_block"}],"counterfactuals":["if"]})");
  auto refused = receipt_json(file, "03ABCDEFGHJKN").value_or("none");
  EXPECT_NE(refused.find(R"("outcome":"refused","status":403,"data_class":null)"), std::string::npos) << refused;
  EXPECT_NE(refused.find(R"("judged":[],"counterfactuals":[])"), std::string::npos) << refused;
}

// From every version that was ever released (0 is an empty file); rows written then can be read now.
TEST_F(LedgerTest, MigratesFromEveryOlderSchema) {
  for (std::size_t version = 0; version <= schema().size(); ++version) {
    auto file = file_ + std::to_string(version);
    {
      auto old = store::Database::open(file, store::Mode::ReadWrite);
      ASSERT_TRUE(old->migrate(schema().first(version)).has_value());
      auto rows = fmt::format(fmt::runtime(kOldRows), R"('[{"code":"policy_block"}]','["if"]')", "'[]','[]'");
      if (version == 1) ASSERT_TRUE(old->execute(rows.c_str()).has_value());
    }
    if (version < schema().size()) EXPECT_EQ(recent_json(file, 1, std::nullopt).error().kind, FailureKind::Unavailable);
    ASSERT_TRUE(Ledger::open(file).has_value());
    if (version == 1) expect_old_rows(file);
    else EXPECT_EQ(recent_json(file, 9, std::nullopt)->size(), 0U);
  }
}

// The other version 1, of an hour of development: explanations in a table of their own.
TEST_F(LedgerTest, MigratesExplanationsThatWereKeptApart) {
  {
    auto old = store::Database::open(file_, store::Mode::ReadWrite);
    ASSERT_TRUE(old->migrate(schema().first(1)).has_value());
    auto rows =
        "ALTER TABLE receipts DROP COLUMN judged; ALTER TABLE receipts DROP COLUMN counterfactuals;"
        "ALTER TABLE receipts ADD COLUMN explanation INTEGER NOT NULL DEFAULT 0;"
        "CREATE TABLE explanations(key INTEGER PRIMARY KEY, judged TEXT NOT NULL, counterfactuals TEXT NOT NULL);"
        "INSERT INTO explanations VALUES(7,'[{\"code\":\"policy_block\"}]','[\"if\"]');" +
        fmt::format(fmt::runtime(kOldRows), "7", "8");
    auto put = old->execute(rows.c_str());
    ASSERT_TRUE(put.has_value()) << put.error().message;
  }
  ASSERT_TRUE(Ledger::open(file_).has_value());
  expect_old_rows(file_);
}

// More Stories than the writer remembers at once: none is told twice while its last telling is still fresh.
TEST_F(LedgerTest, ManyDifferentStories) {
  auto ledger = open();
  for (std::uint64_t n = 0; n < 6000; ++n) {
    auto r = receipt(spread(1) + n);
    r.story_key = 1000 + n / 2;
    if (n % 2 == 1) r.tell = nullptr;
    ledger->post(std::move(r));
    if (n % 1000 == 0) ledger->flush();
  }
  ledger->flush();
  auto database = store::Database::open(file_, store::Mode::ReadOnly);
  auto count = database->prepare(
      "SELECT count(*) FROM stories UNION ALL SELECT count(*) FROM receipts JOIN stories ON "
      "key = story");
  ASSERT_TRUE(count->step().value());
  EXPECT_EQ(count->integer(0), 3000);
  ASSERT_TRUE(count->step().value());
  EXPECT_EQ(count->integer(0), 6000);
}

// A receipt that a full ring drops may be the one that had the Story of others.
TEST_F(LedgerTest, ALostReceiptsStoryIsKept) {
  auto ledger = open();
  std::latch writing(1), go_on(1);
  ledger->post(blocker(writing, go_on));
  writing.wait();
  for (std::uint64_t n = 0; n < 8192 + 1; ++n) {
    auto r = receipt(spread(1) + n);
    r.story_key = 7;
    if (n > 0) r.tell = nullptr;
    ledger->post(std::move(r));
  }
  go_on.count_down();
  ledger->flush();
  EXPECT_EQ(ledger->counters().dropped, 1U);
  EXPECT_NE(receipt_json(file_, to_string(CallId{spread(1) + 1}))->find("number 2 in line"), std::string::npos);
}

TEST_F(LedgerTest, AlikeReceiptsShareOneStory) {
  auto ledger = open();
  for (std::uint64_t n = 0; n < 6; ++n) {
    auto r = receipt(spread(1) + n);
    r.story_key = n < 4 ? 7 : 8;
    if (n == 1 || n == 2) r.tell = nullptr; // told a moment ago
    ledger->post(std::move(r));
    if (n == 1) ledger->flush(); // a new batch knows it all the same
  }
  ledger->flush();
  auto rows = recent_json(file_, 10, std::nullopt);
  ASSERT_EQ(rows->size(), 6U);
  for (const auto& row : *rows) EXPECT_NE(row.find("number 2 in line"), std::string::npos) << row;
  auto database = store::Database::open(file_, store::Mode::ReadOnly);
  auto stories = database->prepare("SELECT count(*), min(key), max(key) FROM stories"); // keyed by who told them
  ASSERT_TRUE(stories->step().value());
  EXPECT_EQ(stories->integer(0), 2);
  EXPECT_EQ(stories->integer(1), static_cast<std::int64_t>(spread(1)));
  EXPECT_EQ(stories->integer(2), static_cast<std::int64_t>(spread(1) + 4));
}

// The columns are an allow-list: a receipt has no field that could hold a prompt, an answer or a matched text.
TEST_F(LedgerTest, NoColumnHoldsContent) {
  auto ledger = open();
  auto database = store::Database::open(file_, store::Mode::ReadOnly);
  auto columns = database->prepare("SELECT group_concat(name, ' ') FROM pragma_table_info('receipts')");
  ASSERT_TRUE(columns->step().value());
  EXPECT_EQ(columns->text(0),
            "id prompt_tokens completion_tokens cached_tokens measured micro_usd decide_us "
            "first_token_us total_us leg_times story");
  auto words = database->prepare("SELECT group_concat(name, ' ') FROM pragma_table_info('stories')");
  ASSERT_TRUE(words->step().value());
  EXPECT_EQ(words->text(0),
            "key endpoint caller asked_model provider model place stream outcome status data_class "
            "findings policy legs judged counterfactuals"); // codes, numbers and configured names
}

TEST(Prices, TheFileInShareIsTheOneBuiltIn) {
  std::ifstream in(std::string(INTERTIE_SOURCE_DIR) + "/share/prices.toml");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(text, built_in_prices_text());
  for (const auto& row : PriceTable::built_in().rows()) {
    EXPECT_TRUE(row.source.starts_with("https://")) << row.model;
    EXPECT_EQ(row.date.size(), 10U);
    EXPECT_FALSE(row.model.ends_with("latest"))
        << row.model << " is a name that moves: its price would be wrong one day";
    EXPECT_LE(row.price.cached_input, row.price.input) << row.model;
  }
}

TEST(Prices, CostCountsCachedTokensAtTheirOwnPrice) {
  const auto* row = PriceTable::built_in().find("openai", "gpt-4o-mini");
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->price.input, 150'000);
  EXPECT_EQ(cost({1'000'000, 0, 0, true}, row->price), 150'000);
  EXPECT_EQ(cost({1'000'000, 1'000'000, 1'000'000, true}, row->price), 75'000 + 600'000);
  EXPECT_EQ(cost({1, 0, 0, true}, row->price), 1) << "rounded up";
  EXPECT_EQ(cost({5, 0, 9, true}, row->price), 1) << "more cached than there was counts as all of it";
  EXPECT_EQ(cost({4'000'000'000, 4'000'000'000, 0, true}, {1'000'000'000'000, 0, 1'000'000'000'000, true}),
            8'000'000'000'000'000);
  EXPECT_EQ(cost({10, 10, 0, true}, Price{}), 0);
  EXPECT_EQ(PriceTable::built_in().find("openai", "no-such"), nullptr);
}

TEST(Prices, MistakesHaveAPosition) {
  auto message = [](std::string_view text) {
    auto table = PriceTable::parse(text, "p.toml");
    return table ? std::string("fine") : table.error().message;
  };
  std::string good = "[[price]]\nprovider = \"a\"\nmodel = \"b\" # c\ninput = 1\noutput = 2.5\ndate = \"2025-01-01\"\n";
  EXPECT_EQ(message(good), "fine");
  EXPECT_EQ(message("provider = \"a\"\n"), "p.toml:1:1: a [[price]] line is missing before this");
  EXPECT_EQ(message("[[price]]\n  modle = \"a\"\n"), "p.toml:2:3: unknown key: did you mean \"model\"?");
  EXPECT_EQ(message("[[price]]\ninput = -1\n"),
            "p.toml:2:1: a number of dollars per million tokens is meant, such as 0.15");
  EXPECT_EQ(message("[[price]]\ninput = 1 2\n"), "p.toml:2:1: there is more on this line than one value");
  EXPECT_EQ(message("[[price]]\nmodel = b\n"), "p.toml:2:1: a string in double quotes is meant");
  EXPECT_EQ(message("[[price]]\ndate = \"soon\"\n"), "p.toml:2:1: a date is written \"2025-09-01\"");
  EXPECT_EQ(message("[price]\n"), "p.toml:1:1: only [[price]] tables are known here");
  EXPECT_EQ(message("[[price]]\nmodel = \"b\"\n"), "p.toml:1:1: this [[price]] needs a provider and a model");
}
} // namespace
} // namespace intertie::ledger
