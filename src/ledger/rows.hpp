// Private to ledger/: Receipts as rows of the database and back as JSON. The schema's history is here; its newest version is
// documented in docs/receipts.md. Not thread-safe: the writer and each query have their own Database.
#pragma once

#include <array>
#include <span>
#include <string>

#include "ledger/receipt.hpp"
#include "store/database.hpp"

namespace intertie::ledger {

std::span<const store::Migration> schema();

// Writes receipts; the Story of a burst that was judged alike is rendered and written once.
class Writer {
 public:
  static Result<Writer> open(store::Database& database);
  Result<> insert(Receipt& receipt);             // runs receipt.tell on the calling thread unless its key is known
  Result<> tell(std::uint64_t key, Tell& story); // the Story alone, of a receipt that was lost
  void forget() { known_.fill(0); }              // what was written may have been rolled back

 private:
  static constexpr std::size_t kKnown = 64; // by key modulo
  Writer(store::Statement row, store::Statement story) : row_(std::move(row)), story_(std::move(story)) {}
  store::Statement row_, story_;
  std::array<std::uint64_t, kKnown> known_{};
};

inline constexpr std::string_view kSelect =
    "SELECT id, endpoint, caller, asked_model, provider, model, place, stream, outcome, status, data_class, findings, "
    "prompt_tokens, completion_tokens, cached_tokens, measured, micro_usd, decide_us, first_token_us, total_us, "
    "policy, legs, leg_times, judged, counterfactuals FROM receipts LEFT JOIN stories ON key = story ";
std::string json_of(const store::Statement& row); // of a row of kSelect, as is id_of
CallId id_of(const store::Statement& row);

} // namespace intertie::ledger
