// A small RAII seam over SQLite: Database, Statement, Transaction, migrations. WAL, synchronous=NORMAL, mode 0600. Errors
// are Failures with what to do about them; SQLite's own text is included, bound values never are. One thread at a time per
// Database; several Databases on one file (a writer and readers) work beside each other.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/result.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace intertie::store {

enum class Mode : std::uint8_t { ReadWrite, ReadOnly }; // ReadWrite creates the file and its folder

class Statement {
 public:
  // Parameters count from 1, columns from 0, as in SQLite. Text is copied by bind.
  Statement& bind(int parameter, std::int64_t value);
  Statement& bind(int parameter, std::string_view text);
  Statement& bind_null(int parameter);
  Result<bool> step(); // true: a row is there
  Result<> run();      // step to the end, then reset() for the next ones; values stay bound
  void reset();
  std::int64_t integer(int column) const;
  std::string text(int column) const;
  bool null(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  bool bound_badly_ = false; // reported by the next step()
};

// The step from user_version n-1 to n; n is its index in the list + 1. Never changed once released.
struct Migration {
  const char* sql;
};

class Database {
 public:
  // NotFound (ReadOnly and no file), Denied (permissions), Unavailable (locked, disk full, not a database).
  static Result<Database> open(const std::string& file, Mode mode);
  Result<> execute(const char* sql);
  Result<Statement> prepare(std::string_view sql);
  // Brings the file to the newest version, one transaction per step. A file from a newer program is Unsupported and left
  // as it is.
  Result<> migrate(std::span<const Migration> migrations);
  Result<std::int64_t> user_version();

 private:
  friend class Transaction;
  struct Close {
    void operator()(sqlite3* database) const;
  };
  Database(sqlite3* database, std::string file) : database_(database), file_(std::move(file)) {}
  std::unique_ptr<sqlite3, Close> database_;
  std::string file_;
};

// Rolls back unless committed. The Database must stay where it is meanwhile.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

} // namespace intertie::store
