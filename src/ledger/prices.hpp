// The dated price table: (provider, model) → Price, with the day and the page it was read from. Built in (share/prices.toml,
// the same text) and overridden by the person's own file of the same form. Tokens are the ledger; money follows from this
// table, so a corrected price corrects the bill. Immutable, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/delta.hpp"
#include "core/model.hpp"
#include "core/result.hpp"

namespace intertie::ledger {

struct PriceRow {
  std::string provider; // kind of provider: "openai"
  std::string model;
  Price price;
  std::string date; // "2025-09-01": the day it was read
  std::string source;
};

class PriceTable {
 public:
  // Reads [[price]] tables of provider, model, input, output, cached_input (dollars per million tokens), date, source: TOML
  // restricted to one `key = value` per line. BadRequest as file:line:column.
  static Result<PriceTable> parse(std::string_view text, std::string_view file_name);
  static const PriceTable& built_in();
  // The built-in table with `file` over it, when it exists.
  static Result<PriceTable> load(const std::string& file);

  const PriceRow* find(std::string_view provider, std::string_view model) const;
  const std::vector<PriceRow>& rows() const { return rows_; } // sorted by provider, model

 private:
  void put(PriceRow row);
  std::vector<PriceRow> rows_;
};
std::string_view built_in_prices_text();

// Micro-US-dollars of `usage`, cached tokens at their own price, rounded up. 0 when the price is not known: see Price::known.
std::int64_t cost(const Usage& usage, const Price& price);

} // namespace intertie::ledger
