// Receipts in, queries out. post() is called on the request path: it moves the Receipt into a bounded ring and never
// touches SQLite; one writer thread drains the ring in batches (flush interval kFlush: what a crash can lose). A full
// ring drops the oldest unwritten and counts it, loudly. A broken database (disk full) keeps serving, also loudly.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "ledger/receipt.hpp"

namespace intertie::ledger {

inline constexpr milliseconds kFlush{200};

class Ledger {
 public:
  // Opens or creates `file` (mode 0600) and migrates its schema forward. Unavailable when it can't, with the fix in it.
  static Result<std::unique_ptr<Ledger>> open(const std::string& file);
  ~Ledger(); // drains, then stops the writer
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  void post(Receipt receipt); // any thread, ~0.3 µs
  void flush();               // waits until what was posted is written; tests and shutdown

  struct Counters {
    std::uint64_t posted, written, dropped, failed;
  };
  Counters counters() const;

 private:
  class Impl;
  explicit Ledger(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Queries open the file read-only, so that the CLI works beside a running daemon (WAL). Results are JSON objects, one per
// receipt, with stable field names (documented in docs/receipts.md).
Result<std::string> receipt_json(const std::string& file, std::string_view id_or_last); // NotFound with suggestions
Result<std::vector<std::string>> recent_json(const std::string& file, std::size_t most, std::optional<CallId> after);

} // namespace intertie::ledger
