#include "ledger/rows.hpp"

#include <algorithm>
#include <charconv>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/json.hpp"

namespace intertie::ledger {
namespace {
constexpr std::array<store::Migration, 2> kSchema{{
    // 1: one row per request, in the order of its id, which is the order of time. Lists are JSON texts: they are only ever
    // shown whole.
    {"CREATE TABLE IF NOT EXISTS receipts("
     "id TEXT NOT NULL PRIMARY KEY, at_ms INTEGER NOT NULL, endpoint TEXT NOT NULL, caller TEXT NOT NULL, "
     "asked_model TEXT NOT NULL, provider TEXT, model TEXT, place TEXT, stream INTEGER NOT NULL, outcome TEXT NOT "
     "NULL, "
     "status INTEGER NOT NULL, data_class TEXT, findings TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, "
     "completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, measured INTEGER NOT NULL, micro_usd "
     "INTEGER, "
     "decide_us INTEGER NOT NULL, first_token_us INTEGER NOT NULL, total_us INTEGER NOT NULL, policy TEXT NOT NULL, "
     "legs TEXT NOT NULL, judged TEXT NOT NULL, counterfactuals TEXT NOT NULL) WITHOUT ROWID;"},
    // (For an hour, development kept the explanations of version 1 in a table of their own.)
    // 2: a receipt is numbers, its words are a story that alike requests share: a sixth of the bytes to write. Ids are
    // the numbers that their 13 letters stand for (and hold the time). Old legs keep the times they were written with.
    {"CREATE TABLE IF NOT EXISTS explanations("
     "key INTEGER PRIMARY KEY, judged TEXT NOT NULL, counterfactuals TEXT NOT NULL);"
     "CREATE TABLE stories("
     "key INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, caller TEXT NOT NULL, asked_model TEXT NOT NULL, provider TEXT, "
     "model TEXT, place TEXT, stream INTEGER NOT NULL, outcome TEXT NOT NULL, status INTEGER NOT NULL, data_class "
     "TEXT, "
     "findings TEXT NOT NULL, policy TEXT NOT NULL, legs TEXT NOT NULL, judged TEXT NOT NULL, counterfactuals TEXT NOT "
     "NULL);"
     "CREATE TABLE numbered("
     "id INTEGER PRIMARY KEY, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, "
     "cached_tokens INTEGER NOT NULL, measured INTEGER NOT NULL, micro_usd INTEGER, decide_us INTEGER NOT NULL, "
     "first_token_us INTEGER NOT NULL, total_us INTEGER NOT NULL, leg_times TEXT, story INTEGER NOT NULL);"
     "CREATE TEMP TABLE ids AS WITH RECURSIVE digits(text, at, number) AS ("
     "SELECT id, 0, 0 FROM receipts UNION ALL "
     "SELECT text, at + 1, (number << 5) | (instr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(text, at + 1, 1)) - 1) "
     "FROM digits WHERE at < 13) SELECT text, number FROM digits WHERE at = 13;"
     "INSERT INTO numbered SELECT number, prompt_tokens, completion_tokens, cached_tokens, measured, micro_usd, "
     "decide_us, first_token_us, total_us, NULL, number FROM receipts JOIN ids ON text = id;"
     "INSERT INTO stories SELECT number, endpoint, caller, asked_model, provider, model, place, stream, outcome, "
     "status, "
     "data_class, findings, policy, legs, "
     // A column that this version 1 lacks is found outside, in `missing`.
     "coalesce((SELECT judged FROM receipts r WHERE r.id = text), (SELECT e.judged FROM explanations e WHERE e.key = "
     "(SELECT explanation FROM receipts r WHERE r.id = text)), '[]'), "
     "coalesce((SELECT counterfactuals FROM receipts r WHERE r.id = text), (SELECT e.counterfactuals FROM explanations "
     "e "
     "WHERE e.key = (SELECT explanation FROM receipts r WHERE r.id = text)), '[]') "
     "FROM receipts JOIN ids ON text = id, (SELECT NULL AS judged, NULL AS counterfactuals, NULL AS explanation) "
     "missing;"
     "DROP TABLE ids; DROP TABLE receipts; DROP TABLE explanations; ALTER TABLE numbered RENAME TO receipts;"},
}};

constexpr std::string_view kInsert = "INSERT OR REPLACE INTO receipts VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)";
constexpr std::string_view kInsertStory =
    "INSERT OR REPLACE INTO stories VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)";

std::string array_of(const std::vector<std::string>& texts) {
  json::Array array;
  for (const auto& text : texts) array.add(text);
  return array.str();
}
// Without their times: those are the receipt's.
std::string array_of(const std::vector<LegTried>& legs) {
  json::Array array;
  for (const auto& leg : legs) {
    json::Object object;
    object.add("provider", leg.provider).add("model", leg.model).add("place", to_string(leg.place)).add("why", leg.why);
    if (leg.failure.empty()) object.null("failure");
    else object.add("failure", leg.failure).add("failure_message", leg.failure_message);
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
std::string utc(WallTime at) {
  constexpr std::int64_t kLastMs = 253402300799999; // 9999-12-31, the last that the format can hold
  auto ms = std::clamp<std::int64_t>(at.time_since_epoch().count(), 0, kLastMs);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(ms / 1000)), ms % 1000);
}

std::string text_of(const std::vector<LegTimes>& times) {
  std::string text;
  for (auto [first, total] : times) fmt::format_to(std::back_inserter(text), "{} {} ", first, total);
  return text;
}
std::vector<LegTimes> leg_times_of(std::string_view text) {
  std::vector<LegTimes> times;
  const char *at = text.data(), *end = at + text.size();
  auto number = [&](std::uint32_t& into) {
    auto read = std::from_chars(at, end, into);
    at = read.ptr < end ? read.ptr + 1 : end;
    return read.ec == std::errc{};
  };
  for (LegTimes one; number(one.first_token_us) && number(one.total_us);) times.push_back(one);
  return times;
}

// Puts each leg's times at the end of its object: a leg holds no other object, so that a brace outside of strings
// ends one. Legs from schema 1 hold their times already.
std::string legs_of(std::string legs, const std::vector<LegTimes>& times) {
  if (legs.find("\"total_us\":") != std::string::npos) return legs;
  bool in_string = false;
  std::string out;
  std::size_t leg = 0;
  for (std::size_t i = 0; i < legs.size(); ++i) {
    if (in_string && legs[i] == '\\') {
      out += legs[i++];
    } else if (legs[i] == '"') {
      in_string = !in_string;
    } else if (!in_string && legs[i] == '}' && leg < times.size()) {
      auto [first, total] = times[leg++];
      fmt::format_to(std::back_inserter(out), ",\"first_token_us\":{},\"total_us\":{}", first, total);
    }
    if (i < legs.size()) out += legs[i];
  }
  return out;
}
} // namespace

std::span<const store::Migration> schema() { return kSchema; }

Result<Writer> Writer::open(store::Database& database) {
  TRY(auto row, database.prepare(kInsert));
  TRY(auto story, database.prepare(kInsertStory));
  return Writer(std::move(row), std::move(story));
}

const CallId* Writer::find(std::uint64_t key) const {
  for (const auto* stories : {&known_, &before_})
    if (auto at = stories->find(key); at != stories->end()) return &at->second;
  return nullptr;
}

void Writer::forget() {
  known_.clear();
  before_.clear();
}

Result<> Writer::tell(Receipt& r) {
  TRY_VOID(write(r.id, r.tell()));
  if (r.story_key == 0) return {};
  if (known_.size() >= kGeneration) before_ = std::exchange(known_, {});
  known_[r.story_key] = r.id;
  return {};
}

Result<> Writer::write(CallId id, Story s) {
  const LegTried* last = s.legs.empty() ? nullptr : &s.legs.back();
  auto& row = story_;
  row.bind(1, static_cast<std::int64_t>(id.value)).bind(2, s.endpoint).bind(3, s.caller).bind(4, s.asked_model);
  if (last != nullptr) row.bind(5, last->provider).bind(6, last->model).bind(7, to_string(last->place));
  else row.bind_null(5).bind_null(6).bind_null(7);
  row.bind(8, std::int64_t{s.stream}).bind(9, to_string(s.outcome)).bind(10, std::int64_t{s.status});
  if (s.class_known) row.bind(11, to_string(s.data_class));
  else row.bind_null(11);
  row.bind(12, array_of(s.finding_types)).bind(13, s.policy_digest).bind(14, array_of(s.legs));
  row.bind(15, array_of(s.judged)).bind(16, array_of(s.counterfactuals));
  return row.run();
}

Result<> Writer::insert(Receipt& r) {
  const CallId* known = r.story_key != 0 ? find(r.story_key) : nullptr;
  auto story = known != nullptr ? *known : r.id;
  if (known == nullptr && r.tell) TRY_VOID(tell(r));
  auto& row = row_;
  row.bind(1, static_cast<std::int64_t>(r.id.value));
  row.bind(2, std::int64_t{r.usage.prompt_tokens}).bind(3, std::int64_t{r.usage.completion_tokens});
  row.bind(4, std::int64_t{r.usage.cached_tokens}).bind(5, std::int64_t{r.usage.measured});
  if (r.price_known) row.bind(6, r.micro_usd);
  else row.bind_null(6);
  row.bind(7, std::int64_t{r.decide_us}).bind(8, std::int64_t{r.first_token_us}).bind(9, std::int64_t{r.total_us});
  if (r.leg_times.empty()) row.bind_null(10);
  else row.bind(10, text_of(r.leg_times));
  row.bind(11, static_cast<std::int64_t>(story.value));
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
  auto list = [&](std::string_view name, int column) { out.raw(name, row.null(column) ? "[]" : row.text(column)); };
  auto id = id_of(row);
  out.add("id", to_string(id)).add("at", utc(time_of(id)));
  text("endpoint", 1);
  text("caller", 2);
  text("asked_model", 3);
  text("provider", 4);
  text("model", 5);
  text("place", 6);
  out.add("stream", row.integer(7) != 0);
  text("outcome", 8);
  number("status", 9);
  text("data_class", 10);
  list("findings", 11);
  number("prompt_tokens", 12);
  number("completion_tokens", 13);
  number("cached_tokens", 14);
  out.add("tokens_measured", row.integer(15) != 0);
  number("micro_usd", 16);
  number("decide_us", 17);
  number("first_token_us", 18);
  number("total_us", 19);
  text("policy", 20);
  auto times = row.null(22) ? std::vector{LegTimes{static_cast<std::uint32_t>(row.integer(18)),
                                                   static_cast<std::uint32_t>(row.integer(19))}}
                            : leg_times_of(row.text(22));
  out.raw("legs", row.null(21) ? "[]" : legs_of(row.text(21), times));
  list("judged", 23);
  list("counterfactuals", 24);
  return out.str();
}
CallId id_of(const store::Statement& row) { return CallId{static_cast<std::uint64_t>(row.integer(0))}; }
} // namespace intertie::ledger
