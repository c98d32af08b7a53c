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
    "outcome, status, "
    "data_class, findings, prompt_tokens, completion_tokens, cached_tokens, measured, micro_usd, decide_us, "
    "first_token_us, "
    "total_us, policy, legs, judged, counterfactuals) "
    "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,"
    "?19,?20,?21,?22,?23,?24,?25)";
// The sentences of the last row. Requests that come in bursts are judged alike; theirs are rendered once.
struct Rendered {
  void render(Receipt& receipt);   // runs receipt.explain on the calling thread unless the key is the same again
  std::uint64_t key = 0;
  std::string judged, counterfactuals;
};
Result<> insert(store::Statement& insert_statement, Receipt& receipt, Rendered& rendered);

inline constexpr std::string_view kSelect =
    "SELECT id, at_ms, endpoint, caller, asked_model, provider, model, place, stream, outcome, status, data_class, "
    "findings, "
    "prompt_tokens, completion_tokens, cached_tokens, measured, micro_usd, decide_us, first_token_us, total_us, "
    "policy, legs, "
    "judged, counterfactuals FROM receipts ";
std::string json_of(const store::Statement& row); // of a row of kSelect

} // namespace intertie::ledger
