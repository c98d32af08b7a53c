#include "store/database.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

namespace intertie::store {
namespace {
constexpr int kBusyTimeoutMs = 2000;

// Each allocation would take a lock to be counted; nobody asks for the count. Before the first open of the process.
void without_statistics() { [[maybe_unused]] static const int kDone = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

Failure failure_of(int code, std::string_view message, std::string_view file) {
  using enum FailureKind;
  auto say = [&](FailureKind kind, std::string_view fix) {
    auto where = file.empty() ? std::string("the database") : fmt::format("the database {}", file);
    return Failure{kind,
                   Fault::LocalResource,
                   fmt::format("{}: {}{}{}", where, message, fix.empty() ? "" : ": ", fix),
                   "database",
                   {}};
  };
  switch (code & 0xFF) {
    case SQLITE_FULL: return say(Unavailable, "free some disk space");
    case SQLITE_IOERR: return say(Unavailable, "check the disk and its free space");
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: return say(Denied, "check that you own it and may write there");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return say(Unavailable, "it is damaged: move it away and a new one is made");
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return say(Unavailable, "another program holds it: close that one");
    default: return say(Internal, "");
  }
}
std::unexpected<Failure> failed(sqlite3* database, std::string_view file = {}) {
  return std::unexpected(failure_of(sqlite3_extended_errcode(database), sqlite3_errmsg(database), file));
}
std::unexpected<Failure> denied(std::string message) {
  return fail(FailureKind::Denied, Fault::LocalResource, std::move(message), "database");
}

// SQLite would create the file by the umask; receipts are nobody else's business.
Result<> create_private(const std::string& file) {
  std::error_code error;
  if (auto folder = std::filesystem::path(file).parent_path();
      !folder.empty() && !std::filesystem::exists(folder, error)) {
    std::filesystem::create_directories(folder, error);
    if (!error) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
    if (error) return denied(fmt::format("can't make the folder {}: {}", folder.string(), error.message()));
  }
  int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    return denied(
        fmt::format("can't open {}: {}: check that you own it and may write there", file, std::strerror(errno)));
  bool is_private = ::fchmod(fd, 0600) == 0;
  int error_number = errno;
  ::close(fd);
  if (!is_private)
    return denied(fmt::format("can't make {} private (mode 0600): {}", file, std::strerror(error_number)));
  return {};
}
} // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Statement& Statement::bind(int parameter, std::int64_t value) {
  bound_badly_ |= sqlite3_bind_int64(statement_.get(), parameter, value) != SQLITE_OK;
  return *this;
}
Statement& Statement::bind(int parameter, std::string_view text) {
  bound_badly_ |= sqlite3_bind_text64(statement_.get(), parameter, text.data() != nullptr ? text.data() : "",
                                      text.size(), SQLITE_TRANSIENT, SQLITE_UTF8) != SQLITE_OK;
  return *this;
}
Statement& Statement::bind_null(int parameter) {
  bound_badly_ |= sqlite3_bind_null(statement_.get(), parameter) != SQLITE_OK;
  return *this;
}
Result<bool> Statement::step() {
  if (std::exchange(bound_badly_, false)) return failed(sqlite3_db_handle(statement_.get()));
  int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return failed(sqlite3_db_handle(statement_.get()));
}
Result<> Statement::run() {
  Result<bool> row = true;
  while (row && *row) row = step();
  reset();
  if (!row) return std::unexpected(std::move(row).error());
  return {};
}
void Statement::reset() { sqlite3_reset(statement_.get()); }
std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return bytes == nullptr ? std::string{} : std::string(bytes, size);
}
bool Statement::null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

Result<Database> Database::open(const std::string& file, Mode mode) {
  if (mode == Mode::ReadWrite) {
    TRY_VOID(create_private(file));
  } else if (std::error_code error; !std::filesystem::exists(file, error)) {
    return fail(FailureKind::NotFound, Fault::Client, fmt::format("there is no {} yet", file), "database");
  }
  without_statistics();
  sqlite3* raw = nullptr;
  int flags = mode == Mode::ReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  int code = sqlite3_open_v2(file.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  Database database(raw, file);
  if (code != SQLITE_OK)
    return std::unexpected(failure_of(code, raw != nullptr ? sqlite3_errmsg(raw) : sqlite3_errstr(code), file));
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  // WAL: readers never block the writer. NORMAL: a power cut may lose the last batch, never the file.
  if (mode == Mode::ReadWrite) {
    TRY_VOID(
        database.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=4194304;"));
  } else {
    TRY_VOID(database.execute("PRAGMA query_only=ON;"));
  }
  return database;
}

Result<> Database::execute(const char* sql) {
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) return failed(database_.get(), file_);
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                         &statement, nullptr) != SQLITE_OK)
    return failed(database_.get(), file_);
  return Statement(statement);
}

Result<std::int64_t> Database::user_version() {
  TRY(auto statement, prepare("PRAGMA user_version"));
  TRY([[maybe_unused]] bool row, statement.step());
  return statement.integer(0);
}

Result<> Database::migrate(std::span<const Migration> migrations) {
  TRY(auto version, user_version());
  auto newest = static_cast<std::int64_t>(migrations.size());
  if (version > newest)
    return fail(
        FailureKind::Unsupported, Fault::LocalResource,
        fmt::format("{} was written by a newer intertie (schema {}, this one knows {}): update, or name another file",
                    file_, version, newest),
        "database");
  for (auto next = version; next < newest; ++next) {
    TRY(auto transaction, Transaction::begin(*this));
    TRY_VOID(execute(migrations[static_cast<std::size_t>(next)].sql));
    TRY_VOID(execute(fmt::format("PRAGMA user_version={}", next + 1).c_str()));
    TRY_VOID(transaction.commit());
  }
  return {};
}

Result<Transaction> Transaction::begin(Database& database) {
  TRY_VOID(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}
Transaction::~Transaction() {
  if (database_ != nullptr && sqlite3_get_autocommit(database_->database_.get()) == 0)
    (void)database_->execute("ROLLBACK");
}
Result<> Transaction::commit() {
  TRY_VOID(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}
} // namespace intertie::store
