#include <algorithm>

#include <fmt/format.h>

#include "core/text.hpp"
#include "ledger/ledger.hpp"
#include "ledger/rows.hpp"

namespace intertie::ledger {
namespace {
constexpr std::size_t kShortestPrefix = 4;
constexpr std::size_t kIdLength = 13;
constexpr std::size_t kMostRows = 10'000;

// As parse_call_id reads ids: any case, O for 0, I and L for 1. Empty when it can't be (the beginning of) one.
std::string canonical(std::string_view id) {
  std::string out;
  for (char c : id.substr(0, kIdLength + 1)) {
    char upper = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    if (upper == 'O') upper = '0';
    if (upper == 'I' || upper == 'L') upper = '1';
    bool fits = (upper >= '0' && upper <= '9') || (upper >= 'A' && upper <= 'Z' && upper != 'U');
    if (!fits) return {};
    out += upper;
  }
  return out.size() <= kIdLength ? out : std::string{};
}

Result<store::Database> open_for_reading(const std::string& file) {
  auto database = store::Database::open(file, store::Mode::ReadOnly);
  if (!database && database.error().kind == FailureKind::NotFound)
    return fail(FailureKind::NotFound, Fault::Client,
                "there are no receipts yet: ask something first (`intertie ask \"…\"`)", "no_receipts");
  if (!database) return database;
  TRY(auto version, database->user_version());
  auto newest = static_cast<std::int64_t>(schema().size());
  if (version == newest) return database;
  if (version > newest)
    return fail(FailureKind::Unsupported, Fault::LocalResource,
                fmt::format("{} was written by a newer intertie: update this one", file), "database");
  return fail(
      FailureKind::Unavailable, Fault::LocalResource,
      fmt::format("{} is from an older intertie: start `intertie serve` once, which brings it up to date", file),
      "database");
}

std::unexpected<Failure> not_found(std::string message) {
  return fail(FailureKind::NotFound, Fault::Client, std::move(message), "receipt_not_found");
}
std::unexpected<Failure> no_such(store::Database& database, std::string_view asked) {
  std::vector<std::string> ids;
  if (auto rows = database.prepare("SELECT id FROM receipts ORDER BY id DESC LIMIT 200"))
    for (auto row = rows->step(); row && *row; row = rows->step()) ids.push_back(to_string(id_of(*rows)));
  if (ids.empty()) return not_found("there are no receipts yet: ask something first (`intertie ask \"…\"`)");
  auto near = text::suggest(asked, ids);
  if (near.empty())
    near.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(3, ids.size())));
  return not_found(
      fmt::format("there is no receipt {}: did you mean {}? `intertie receipts` lists them, `last` is the newest",
                  asked, fmt::join(near, " or ")));
}
} // namespace

Result<std::string> receipt_json(const std::string& file, std::string_view id_or_last) {
  TRY(auto database, open_for_reading(file));
  if (id_or_last == "last") {
    TRY(auto newest, database.prepare(std::string(kSelect) + "ORDER BY id DESC LIMIT 1"));
    TRY(bool found, newest.step());
    if (!found) return no_such(database, "last");
    return json_of(newest);
  }
  auto prefix = canonical(id_or_last);
  if (prefix.size() < kShortestPrefix)
    return bad_request(
        fmt::format("a receipt's id is {} letters and digits, of which the first {} or more will do, or `last`",
                    kIdLength, kShortestPrefix),
        "bad_receipt_id");
  TRY(auto rows, database.prepare(std::string(kSelect) + "WHERE id >= ?1 AND id <= ?2 ORDER BY id LIMIT 4"));
  auto first_with = [&](char digit) {
    auto id = parse_call_id(prefix + std::string(kIdLength - prefix.size(), digit));
    return static_cast<std::int64_t>(id ? id->value : 0);
  };
  rows.bind(1, first_with('0')).bind(2, first_with('Z'));
  std::vector<std::string> ids;
  std::string first;
  for (;;) {
    TRY(bool found, rows.step());
    if (!found) break;
    if (ids.empty()) first = json_of(rows);
    ids.push_back(to_string(id_of(rows)));
  }
  if (ids.empty()) return no_such(database, prefix);
  if (ids.size() > 1)
    return not_found(fmt::format("{} is the beginning of several ids: {}{}", prefix, fmt::join(ids, ", "),
                                 ids.size() == 4 ? " …" : ""));
  return first;
}

Result<std::vector<std::string>> recent_json(const std::string& file, std::size_t most, std::optional<CallId> after) {
  TRY(auto database, open_for_reading(file));
  // With `after`, the next ones (to follow along); without, the newest. Oldest first in both.
  auto order = after ? "WHERE id > ?1 ORDER BY id LIMIT ?2" : "ORDER BY id DESC LIMIT ?2";
  TRY(auto rows, database.prepare(std::string(kSelect) + order));
  if (after) rows.bind(1, static_cast<std::int64_t>(after->value));
  rows.bind(2, static_cast<std::int64_t>(std::min(most, kMostRows)));
  std::vector<std::string> out;
  for (;;) {
    TRY(bool found, rows.step());
    if (!found) break;
    out.push_back(json_of(rows));
  }
  if (!after) std::ranges::reverse(out);
  return out;
}
} // namespace intertie::ledger
