// intertie explain, receipts, status: what was decided and why, for people; --json for programs.
#include <sys/inotify.h>
#include <unistd.h>

#include <fmt/format.h>
#include <simdjson.h>

#include "bin/daemon_client.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "core/text.hpp"
#include "ledger/ledger.hpp"

namespace intertie::bin {
namespace {

namespace dom = simdjson::dom;
constexpr milliseconds kQuick{3000}; // a daemon that is well answers in one

std::string str(dom::element e, const char* key) {
  std::string_view v;
  return e[key].get(v) == simdjson::SUCCESS ? std::string(v) : std::string{};
}
std::int64_t num(dom::element e, const char* key) {
  std::int64_t v = 0;
  if (e[key].get(v) != simdjson::SUCCESS) return 0;
  return v;
}
bool flag(dom::element e, const char* key) {
  bool v = false;
  return e[key].get(v) == simdjson::SUCCESS && v;
}
dom::array list(dom::element e, const char* key) {
  dom::array v;
  if (e[key].get(v) != simdjson::SUCCESS) return {};
  return v;
}
bool empty(dom::element e, const char* key) {
  dom::array v;
  return e[key].get(v) != simdjson::SUCCESS || v.size() == 0;
}

std::string took(std::int64_t us) {
  return us < 1000        ? fmt::format("{} µs", us)
         : us < 1'000'000 ? fmt::format("{:.0f} ms", static_cast<double>(us) / 1e3)
                          : fmt::format("{:.1f} s", static_cast<double>(us) / 1e6);
}

std::string cost(dom::element r, std::string_view unknown) {
  std::int64_t micro_usd = 0;
  return r["micro_usd"].get(micro_usd) == simdjson::SUCCESS ? text::human_dollars(micro_usd) : std::string(unknown);
}

void print_legs(dom::element r) {
  if (empty(r, "legs")) {
    fmt::print("Ran:       nowhere\n");
    return;
  }
  for (auto leg : list(r, "legs")) {
    auto failure = str(leg, "failure");
    fmt::print("Ran:       {} {}/{} — {}\n", paint(Colour::Cyan, str(leg, "place")), str(leg, "provider"),
               str(leg, "model"),
               failure.empty()
                   ? paint(Colour::Green, fmt::format("answered in {}, first token after {}",
                                                      took(num(leg, "total_us")), took(num(leg, "first_token_us"))))
                   : paint(Colour::Yellow, fmt::format("{}: {}", failure, str(leg, "failure_message"))));
    if (num(leg, "attempts") > 1)
      fmt::print("           at attempt {}; the one before: {}\n", num(leg, "attempts"), str(leg, "retried_after"));
    if (flag(leg, "retries_spent"))
      fmt::print("           not asked once more: a tenth of its requests were retries\n");
  }
}

void print_judged(dom::element r) {
  if (empty(r, "judged")) return;
  fmt::print("\n{}\n", paint(Colour::Bold, "Every candidate, and why"));
  for (auto j : list(r, "judged"))
    fmt::print("  {} {}/{} ({}): {}\n", flag(j, "chosen") ? paint(Colour::Green, "✓") : paint(Colour::Dim, "✗"),
               str(j, "provider"), str(j, "model"), str(j, "place"), str(j, "sentence"));
}

void print_receipt(dom::element r) {
  fmt::print("{} {}  {}\n", paint(Colour::Bold, "Decision"), paint(Colour::Bold, str(r, "id")), str(r, "at"));
  fmt::print("Asked:     {} for model `{}`{}{}\n", str(r, "endpoint"), str(r, "asked_model"),
             flag(r, "stream") ? ", streaming" : "",
             str(r, "caller").empty() ? "" : fmt::format(", by {}", str(r, "caller")));
  fmt::print("Outcome:   {} (HTTP {}) in {}, decided in {}\n", str(r, "outcome"), num(r, "status"),
             took(num(r, "total_us")), took(num(r, "decide_us")));
  print_legs(r);
  auto data_class = str(r, "data_class");
  fmt::print("Data:      {}\n",
             data_class.empty()
                 ? "not scanned: nothing could have left this device"
                 : fmt::format("class {} ({})", data_class, describe(parse_class(data_class).value_or(DataClass::C6))));
  for (auto finding : list(r, "findings")) {
    std::string_view name;
    if (finding.get(name) == simdjson::SUCCESS) fmt::print("           found {}\n", name);
  }
  fmt::print("Tokens:    {} in, {} out ({})\n", num(r, "prompt_tokens"), num(r, "completion_tokens"),
             flag(r, "tokens_measured") ? "measured" : "estimated");
  fmt::print("Cost:      {}\n", cost(r, "unknown: no price is on record"));
  print_judged(r);
  if (!empty(r, "counterfactuals")) {
    fmt::print("\n{}\n", paint(Colour::Bold, "What would change it"));
    for (auto c : list(r, "counterfactuals")) {
      std::string_view sentence;
      if (c.get(sentence) == simdjson::SUCCESS) fmt::print("  • {}\n", sentence);
    }
  }
}

std::vector<std::string> receipt_row(dom::element r) {
  std::string where = "-";
  for (auto leg : list(r, "legs")) where = str(leg, "place") + " " + str(leg, "provider") + "/" + str(leg, "model");
  return {str(r, "id"),
          str(r, "at"),
          str(r, "outcome"),
          where,
          fmt::format("{}+{}", num(r, "prompt_tokens"), num(r, "completion_tokens")),
          cost(r, "?"),
          took(num(r, "total_us"))};
}

// Prints rows newer than `after`, oldest first; gives the newest id.
Result<std::optional<CallId>> print_rows(const Options& options, const std::string& file, std::optional<CallId> after,
                                         bool head) {
  TRY(auto rows, ledger::recent_json(file, options.limit, after));
  std::vector<std::vector<std::string>> lines;
  if (head) lines.push_back({"ID", "AT", "OUTCOME", "WHERE", "TOKENS", "COST", "TOOK"});
  dom::parser parser;
  for (auto row = rows.begin(); row != rows.end(); ++row) {
    dom::element r;
    if (parser.parse(*row).get(r) != simdjson::SUCCESS) continue;
    after = parse_call_id(str(r, "id"));
    if (options.json) fmt::print("{}\n", *row);
    else lines.push_back(receipt_row(r));
  }
  if (!options.json) fmt::print("{}", head || lines.empty() ? table(lines) : table(lines));
  std::fflush(stdout);
  return after;
}

} // namespace

int explain(const Options& options, const config::Config& config) {
  // A running daemon writes what it still holds first; without one the file has it all.
  (void)ask_daemon(config, {.path = "/intertie/v1/explain/last", .limit = kQuick});
  auto found = ledger::receipt_json(config.paths.receipts_file, options.id);
  if (!found) return complain(found.error());
  if (options.json) {
    fmt::print("{}\n", *found);
    return kOk;
  }
  dom::parser parser;
  dom::element r;
  if (parser.parse(*found).get(r) != simdjson::SUCCESS) return complain(internal("the receipt can't be read").error());
  print_receipt(r);
  return kOk;
}

int receipts(const Options& options, const config::Config& config) {
  const auto& file = config.paths.receipts_file;
  auto newest = print_rows(options, file, std::nullopt, true);
  if (!newest) return complain(newest.error());
  if (!options.follow) return kOk;
  int watch = ::inotify_init1(IN_CLOEXEC);
  if (watch < 0 || ::inotify_add_watch(watch, (file + "-wal").c_str(), IN_MODIFY) < 0) {
    if (::inotify_add_watch(watch, file.c_str(), IN_MODIFY) < 0)
      return complain(internal("can't watch " + file).error());
  }
  for (alignas(inotify_event) char events[4096]; ::read(watch, events, sizeof events) > 0;) {
    newest = print_rows(options, file, *newest, false);
    if (!newest) return complain(newest.error());
  }
  return kOk;
}

int status(const Options& options, const config::Config& config) {
  auto answer = ask_daemon(config, {.path = "/intertie/v1/status", .limit = kQuick});
  if (!answer) return complain(answer.error());
  if (options.json) {
    fmt::print("{}\n", answer->body);
    return kOk;
  }
  dom::parser parser;
  dom::element s;
  if (parser.parse(answer->body).get(s) != simdjson::SUCCESS)
    return complain(internal("the daemon's answer can't be read").error());
  fmt::print("{} {}, up {} s, {} in flight\n", paint(Colour::Bold, "Intertie"), str(s, "version"),
             num(s, "uptime_seconds"), num(s, "in_flight"));
  fmt::print("Address:     http://{}:{}/v1\n", config.server.address, config.server.port);
  fmt::print("Paid places: {}\n", flag(s, "paid_places") ? "on" : "off (nothing that costs money is used)");
  std::vector<std::vector<std::string>> rows{{"LOCAL MODEL", "STATE", "MEMORY", "SPEED", "PROBLEM"}};
  for (auto m : list(s, "local_models")) {
    double rate = 0;
    (void)m["output_rate"].get(rate);
    rows.push_back({str(m, "name"), str(m, "state"),
                    text::human_bytes(static_cast<std::uint64_t>(num(m, "resident_bytes"))),
                    fmt::format("{:.0f} tok/s", rate), str(m, "problem")});
  }
  fmt::print("\n{}", rows.size() > 1 ? table(rows) : "No local model: intertie models add FILE\n");
  if (!empty(s, "providers")) {
    rows = {{"PROVIDER", "PLACE", "TRUST", "HEALTH"}};
    for (auto p : list(s, "providers"))
      rows.push_back({str(p, "name"), str(p, "place"), str(p, "trust"), str(p, "health")});
    fmt::print("\n{}", table(rows));
  }
  return kOk;
}

} // namespace intertie::bin
