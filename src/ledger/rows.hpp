// Private to ledger/: Receipts as rows of the database and back as JSON. The schema's history is here; its newest version is
// documented in docs/receipts.md. Not thread-safe: the writer and each query have their own Database.
#pragma once

#include <span>
#include <string>

#include "ledger/receipt.hpp"
#include "store/database.hpp"

namespace intertie::ledger {

std::span<const store::Migration> schema();
inline constexpr std::string_view kInsert =
    "INSERT OR REPLACE INTO receipts(id, at_ms, endpoint, caller, asked_model, provider, model, place, stream, "
    "outcome, status, data_class, findings, prompt_tokens, completion_tokens, cached_tokens, measured, micro_usd, "
    "decide_us, first_token_us, total_us, policy, legs, explanation) "
    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24)";
inline constexpr std::string_view kInsertExplanation =
    "INSERT OR IGNORE INTO explanations(key, judged, counterfactuals) VALUES(?1,?2,?3)";

// Writes receipts; the explanation of a burst that was judged alike is rendered and written once.
class Writer {
 public:
  static Result<Writer> open(store::Database& database);
  Result<> insert(Receipt& receipt); // runs receipt.explain on the calling thread unless its key came last time
  void forget() { last_key_ = 0; }   // what was written may have been rolled back

 private:
  Writer(store::Statement row, store::Statement explanation)
      : row_(std::move(row)), explanation_(std::move(explanation)) {}
  Result<> explain(Receipt& receipt, std::int64_t& key);
  store::Statement row_, explanation_;
  std::uint64_t last_key_ = 0;
};

inline constexpr std::string_view kSelect =
    "SELECT id, at_ms, endpoint, caller, asked_model, provider, model, place, stream, outcome, status, data_class, "
    "findings, "
    "prompt_tokens, completion_tokens, cached_tokens, measured, micro_usd, decide_us, first_token_us, total_us, "
    "policy, legs, "
    "coalesce(judged, '[]'), coalesce(counterfactuals, '[]') FROM receipts LEFT JOIN explanations ON key = "
    "explanation ";
std::string json_of(const store::Statement& row); // of a row of kSelect

} // namespace intertie::ledger
