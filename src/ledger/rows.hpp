// Private to ledger/: Receipts as rows of the database and back as JSON. The schema's history is here; its newest version is
// documented in docs/receipts.md. Not thread-safe: the writer and each query have their own Database.
#pragma once

#include <span>
#include <string>
#include <unordered_map>

#include "ledger/receipt.hpp"
#include "store/database.hpp"

namespace intertie::ledger {

std::span<const store::Migration> schema();

// Writes receipts; the Story of a burst that was judged alike is rendered and written once. Its row has the id of the
// receipt that told it, not the hash: rows in the order of time go to the end of their tree, rows in the order of a hash would
// each dirty a page of their own.
class Writer {
 public:
  static Result<Writer> open(store::Database& database);
  Result<> insert(Receipt& receipt); // runs receipt.tell on the calling thread unless its key is known
  Result<> tell(Receipt& lost);      // the Story alone, of a receipt that won't be written
  void forget();                     // what was written has been rolled back

 private:
  using Stories = std::unordered_map<std::uint64_t, CallId>; // by key
  static constexpr std::size_t kGeneration = 4096;
  Writer(store::Statement row, store::Statement story) : row_(std::move(row)), story_(std::move(story)) {}
  const CallId* find(std::uint64_t key) const;
  Result<> write(CallId id, Story story);
  store::Statement row_, story_;
  Stories known_, before_; // the last 4,096 keys, and those before them
};

inline constexpr std::string_view kSelect =
    "SELECT id, endpoint, caller, asked_model, provider, model, place, stream, outcome, status, data_class, findings, "
    "prompt_tokens, completion_tokens, cached_tokens, measured, micro_usd, decide_us, first_token_us, total_us, "
    "policy, legs, leg_times, judged, counterfactuals FROM receipts LEFT JOIN stories ON key = story ";
std::string json_of(const store::Statement& row); // of a row of kSelect, as is id_of
CallId id_of(const store::Statement& row);

} // namespace intertie::ledger
