#include <gtest/gtest.h>

#include <array>
#include <filesystem>

#include <unistd.h>

#include "store/database.hpp"

namespace intertie::store {
namespace {
namespace fs = std::filesystem;
class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    std::string name = (fs::temp_directory_path() / "intertie-store-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    file_ = (folder_ / "a.db").string();
  }
  ~StoreTest() override { fs::remove_all(folder_); }
  fs::path folder_;
  std::string file_;
};

TEST_F(StoreTest, BindsAndReadsEveryKindOfValue) {
  auto db = Database::open(file_, Mode::ReadWrite);
  ASSERT_TRUE(db.has_value()) << db.error().message;
  ASSERT_TRUE(db->execute("CREATE TABLE t(a, b, c)").has_value());
  auto insert = db->prepare("INSERT INTO t VALUES(?1,?2,?3)");
  const std::string with_nul("x\0'\xC3\xA4", 5);
  ASSERT_TRUE(insert->bind(1, std::int64_t{-5}).bind(2, with_nul).bind_null(3).run().has_value());
  ASSERT_TRUE(insert->bind(1, std::int64_t{7}).bind(2, std::string_view{}).run().has_value());
  auto rows = db->prepare("SELECT a,b,c FROM t ORDER BY a");
  ASSERT_TRUE(*rows->step());
  EXPECT_EQ(rows->integer(0), -5);
  EXPECT_EQ(rows->text(1), with_nul);
  EXPECT_TRUE(rows->null(2));
  ASSERT_TRUE(*rows->step());
  EXPECT_FALSE(rows->null(1)) << "an empty text is no null";
  EXPECT_FALSE(*rows->step());
}

TEST_F(StoreTest, ATransactionRollsBackUnlessCommitted) {
  auto db = Database::open(file_, Mode::ReadWrite);
  ASSERT_TRUE(db->execute("CREATE TABLE t(a)").has_value());
  {
    auto transaction = Transaction::begin(*db);
    ASSERT_TRUE(transaction.has_value());
    ASSERT_TRUE(db->execute("INSERT INTO t VALUES(1)").has_value());
  }
  {
    auto transaction = Transaction::begin(*db);
    ASSERT_TRUE(db->execute("INSERT INTO t VALUES(2)").has_value());
    ASSERT_TRUE(transaction->commit().has_value());
  }
  auto sum = db->prepare("SELECT sum(a) FROM t");
  ASSERT_TRUE(*sum->step());
  EXPECT_EQ(sum->integer(0), 2);
}

TEST_F(StoreTest, AFailedMigrationLeavesTheOldVersion) {
  auto db = Database::open(file_, Mode::ReadWrite);
  const std::array<Migration, 2> steps{{{"CREATE TABLE a(x)"}, {"CREATE TABLE b(x); NOT SQL"}}};
  EXPECT_FALSE(db->migrate(steps).has_value());
  EXPECT_EQ(*db->user_version(), 1);
  EXPECT_FALSE(db->prepare("SELECT * FROM b").has_value());
  const std::array<Migration, 2> mended{{{"CREATE TABLE a(x)"}, {"CREATE TABLE b(x)"}}};
  EXPECT_TRUE(db->migrate(mended).has_value());
  EXPECT_EQ(*db->user_version(), 2);
  EXPECT_TRUE(db->migrate(mended).has_value()) << "twice is once";
  EXPECT_EQ(db->migrate(std::span(mended).first(1)).error().kind, FailureKind::Unsupported);
}

TEST_F(StoreTest, ReadsBesideAWriterAndWritesNothing) {
  EXPECT_EQ(Database::open(file_, Mode::ReadOnly).error().kind, FailureKind::NotFound);
  auto writer = Database::open(file_, Mode::ReadWrite);
  ASSERT_TRUE(writer->execute("CREATE TABLE t(a)").has_value());
  auto transaction = Transaction::begin(*writer);
  ASSERT_TRUE(writer->execute("INSERT INTO t VALUES(1)").has_value());
  auto reader = Database::open(file_, Mode::ReadOnly);
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  auto count = reader->prepare("SELECT count(*) FROM t");
  ASSERT_TRUE(*count->step());
  EXPECT_EQ(count->integer(0), 0);
  EXPECT_FALSE(reader->execute("INSERT INTO t VALUES(2)").has_value());
}

TEST_F(StoreTest, MistakesAreFailuresWithTheFile) {
  auto db = Database::open(file_, Mode::ReadWrite);
  auto wrong = db->prepare("SELECT nothing FROM nowhere");
  ASSERT_FALSE(wrong.has_value());
  EXPECT_NE(wrong.error().message.find(file_), std::string::npos);
  auto statement = db->prepare("SELECT ?1");
  statement->bind(5, std::int64_t{1});
  EXPECT_FALSE(statement->step().has_value()) << "a bad parameter is told by step()";
}
} // namespace
} // namespace intertie::store
