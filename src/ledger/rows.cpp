#include "ledger/rows.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/json.hpp"

namespace intertie::ledger {
namespace {
constexpr std::array<store::Migration, 1> kSchema{{
    // 1: one row per request, in the order of its id, which is the order of time: one tree to write, at its end. Its
    // explanation is a row of its own, shared by requests that were judged alike. Lists are JSON texts: they are only
    // ever shown whole.
    {"CREATE TABLE IF NOT EXISTS explanations("
     "key INTEGER PRIMARY KEY, judged TEXT NOT NULL, counterfactuals TEXT NOT NULL);"
     "CREATE TABLE IF NOT EXISTS receipts("
     "id TEXT NOT NULL PRIMARY KEY, at_ms INTEGER NOT NULL, endpoint TEXT NOT NULL, caller TEXT NOT NULL, "
     "asked_model TEXT NOT NULL, provider TEXT, model TEXT, place TEXT, stream INTEGER NOT NULL, outcome TEXT NOT "
     "NULL, "
     "status INTEGER NOT NULL, data_class TEXT, findings TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, "
     "completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, measured INTEGER NOT NULL, micro_usd "
     "INTEGER, "
     "decide_us INTEGER NOT NULL, first_token_us INTEGER NOT NULL, total_us INTEGER NOT NULL, policy TEXT NOT NULL, "
     "legs TEXT NOT NULL, explanation INTEGER NOT NULL) WITHOUT ROWID;"},
}};

std::string array_of(const std::vector<std::string>& texts) {
  json::Array array;
  for (const auto& text : texts) array.add(text);
  return array.str();
}
std::string array_of(const std::vector<LegTried>& legs) {
  json::Array array;
  for (const auto& leg : legs) {
    json::Object object;
    object.add("provider", leg.provider).add("model", leg.model).add("place", to_string(leg.place)).add("why", leg.why);
    if (leg.failure.empty()) object.null("failure");
    else object.add("failure", leg.failure).add("failure_message", leg.failure_message);
    object.add("first_token_us", std::uint64_t{leg.first_token_us}).add("total_us", std::uint64_t{leg.total_us});
    if (leg.attempts > 1) object.add("attempts", std::uint64_t{leg.attempts}).add("retried_after", leg.retried_after);
    if (leg.retries_spent) object.add("retries_spent", true);
    array.raw(object.str());
  }
  return array.str();
}
std::string array_of(const std::vector<Judged>& judged) {
  json::Array array;
  for (const auto& one : judged)
    array.raw(json::Object{}
                  .add("provider", one.provider)
                  .add("model", one.model)
                  .add("place", to_string(one.place))
                  .add("chosen", one.chosen)
                  .add("code", one.code)
                  .add("sentence", one.sentence)
                  .str());
  return array.str();
}
std::string utc(std::int64_t ms) {
  constexpr std::int64_t kLastMs = 253402300799999; // 9999-12-31, the last that the format can hold
  ms = std::clamp<std::int64_t>(ms, 0, kLastMs);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(ms / 1000)), ms % 1000);
}
} // namespace

std::span<const store::Migration> schema() { return kSchema; }

Result<> Writer::explain(Receipt& r, std::int64_t& key) {
  key = static_cast<std::int64_t>(r.explain_key != 0 ? r.explain_key : r.id.value);
  // Known: the last one again, or one that its request told a moment ago and does not repeat.
  if (r.explain_key != 0 && (r.explain_key == last_key_ || !r.explain)) return {};
  Explanation explanation;
  if (r.explain) explanation = (*r.explain)();
  last_key_ = r.explain_key;
  explanation_.bind(1, key).bind(2, array_of(explanation.judged)).bind(3, array_of(explanation.counterfactuals));
  return explanation_.run();
}

Result<Writer> Writer::open(store::Database& database) {
  TRY(auto row, database.prepare(kInsert));
  TRY(auto explanation, database.prepare(kInsertExplanation));
  return Writer(std::move(row), std::move(explanation));
}

Result<> Writer::insert(Receipt& r) {
  std::int64_t explanation = 0;
  TRY_VOID(explain(r, explanation));
  auto& row = row_;
  const LegTried* last = r.legs.empty() ? nullptr : &r.legs.back();
  row.bind(1, to_string(r.id))
      .bind(2, std::int64_t{r.at.time_since_epoch().count()})
      .bind(3, r.endpoint)
      .bind(4, r.caller);
  row.bind(5, r.asked_model);
  if (last != nullptr) row.bind(6, last->provider).bind(7, last->model).bind(8, to_string(last->place));
  else row.bind_null(6).bind_null(7).bind_null(8);
  row.bind(9, std::int64_t{r.stream}).bind(10, to_string(r.outcome)).bind(11, std::int64_t{r.status});
  if (r.class_known) row.bind(12, to_string(r.data_class));
  else row.bind_null(12);
  row.bind(13, array_of(r.finding_types));
  row.bind(14, std::int64_t{r.usage.prompt_tokens}).bind(15, std::int64_t{r.usage.completion_tokens});
  row.bind(16, std::int64_t{r.usage.cached_tokens}).bind(17, std::int64_t{r.usage.measured});
  if (r.price_known) row.bind(18, r.micro_usd);
  else row.bind_null(18);
  row.bind(19, std::int64_t{r.decide_us}).bind(20, std::int64_t{r.first_token_us}).bind(21, std::int64_t{r.total_us});
  row.bind(22, std::string_view{r.policy_digest.data(), r.policy_digest.front() == 0 ? 0 : r.policy_digest.size()})
      .bind(23, array_of(r.legs))
      .bind(24, explanation);
  return row.run();
}

std::string json_of(const store::Statement& row) {
  json::Object out;
  auto text = [&](std::string_view name, int column) {
    if (row.null(column)) out.null(name);
    else out.add(name, row.text(column));
  };
  auto number = [&](std::string_view name, int column) {
    if (row.null(column)) out.null(name);
    else out.add(name, row.integer(column));
  };
  text("id", 0);
  out.add("at", utc(row.integer(1)));
  text("endpoint", 2);
  text("caller", 3);
  text("asked_model", 4);
  text("provider", 5);
  text("model", 6);
  text("place", 7);
  out.add("stream", row.integer(8) != 0);
  text("outcome", 9);
  number("status", 10);
  text("data_class", 11);
  out.raw("findings", row.text(12));
  number("prompt_tokens", 13);
  number("completion_tokens", 14);
  number("cached_tokens", 15);
  out.add("tokens_measured", row.integer(16) != 0);
  number("micro_usd", 17);
  number("decide_us", 18);
  number("first_token_us", 19);
  number("total_us", 20);
  text("policy", 21);
  out.raw("legs", row.text(22)).raw("judged", row.text(23)).raw("counterfactuals", row.text(24));
  return out.str();
}
} // namespace intertie::ledger
