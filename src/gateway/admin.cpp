#include <charconv>
#include <functional>

#include <fmt/format.h>

#include "core/json.hpp"
#include "gateway/chat_reply.hpp"
#include "gateway/gateway.hpp"

namespace intertie::gateway {
namespace {

constexpr std::string_view kJson = "application/json";

std::string_view beneath(const net::Exchange& exchange, std::string_view prefix) {
  return exchange.path().substr(prefix.size());
}

std::string_view parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    auto part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    if (part.starts_with(name) && part.size() > name.size() && part[name.size()] == '=')
      return part.substr(name.size() + 1);
  }
  return {};
}

std::string health_word(const provider::Health& health, TimePoint now) {
  switch (health.condition(now)) {
    case provider::Condition::Up: return "up";
    case provider::Condition::Resting: return "resting";
    case provider::Condition::Out: break;
  }
  return "out";
}

std::string model_json(const local::Status& s) {
  json::Object o;
  o.add("name", s.facts.name).add("state", local::to_string(s.state)).add("file", s.file).add("origin", s.origin);
  o.add("architecture", s.architecture).add("quantisation", s.quantisation).add("parameters", s.parameters);
  o.add("file_bytes", s.file_bytes).add("resident_bytes", s.facts.resident_bytes).add("context", s.facts.context);
  o.add("fits", s.fits).add("calibrated", s.calibrated).add("prompt_rate", s.facts.prompt_rate);
  o.add("output_rate", s.facts.output_rate).add("load_seconds", s.facts.load_seconds);
  o.add("pid", s.pid).add("running", s.running).add("waiting", s.waiting).add("problem", s.problem);
  return o.str();
}

} // namespace

Task<void> health(Gateway&, net::Exchange& exchange) {
  (void)co_await exchange.respond(200, kJson, {}, R"({"status":"ok"})");
}

Task<void> ready(Gateway& gateway, net::Exchange& exchange) {
  gateway.state().refresh();
  if (!gateway.state().catalogue()->entries().empty()) {
    (void)co_await exchange.respond(200, kJson, {}, R"({"status":"ready"})");
    co_return;
  }
  Failure failure{.kind = FailureKind::Unavailable,
                  .fault = Fault::LocalResource,
                  .message =
                      "no model can answer: add one with `intertie models pull` or `intertie models add FILE`, or "
                      "configure a [[provider]] with models",
                  .code = "no_model",
                  .param = {}};
  (void)co_await respond_failure(exchange, failure);
}

Task<void> metrics(Gateway& gateway, net::Exchange& exchange) {
  auto& state = gateway.state();
  std::string text = state.metrics().render();
  if (auto* ledger = state.ledger()) {
    auto c = ledger->counters();
    text += fmt::format(
        "# TYPE intertie_receipts_total counter\nintertie_receipts_total{{state=\"written\"}} {}\n"
        "intertie_receipts_total{{state=\"dropped\"}} {}\nintertie_receipts_total{{state=\"failed\"}} {}\n",
        c.written, c.dropped, c.failed);
  }
  (void)co_await exchange.respond(200, "text/plain; version=0.0.4; charset=utf-8", {}, text);
}

Task<void> status(Gateway& gateway, net::Exchange& exchange) {
  auto& state = gateway.state();
  state.refresh();
  auto now = state.clock().now();
  json::Array models, providers;
  if (auto* engines = state.engines())
    for (const auto& s : engines->models()) models.raw(model_json(s));
  auto catalogue = state.catalogue();
  for (const auto& p : state.config()->providers) {
    json::Object o;
    o.add("name", p.name).add("place", to_string(p.place)).add("trust", to_string(p.trust)).add("paid", p.paid);
    for (const auto& entry : catalogue->entries())
      if (const auto* r = catalogue->remote(entry); r && entry.facts.provider == p.name) {
        o.add("health", health_word(*r->health, now));
        break;
      }
    o.add("models", std::uint64_t{p.models.size()});
    providers.raw(o.str());
  }
  json::Object o;
  o.add("version", INTERTIE_VERSION);
  o.add("uptime_seconds", std::int64_t{std::chrono::duration_cast<seconds>(now - state.started()).count()});
  o.add("in_flight", state.metrics().in_flight()).add("paid_places", state.config()->policy.paid);
  o.add("policy", state.config()->policy.digest()).add("receipts", state.ledger() != nullptr);
  o.raw("local_models", models.str()).raw("providers", providers.str());
  (void)co_await exchange.respond(200, kJson, {}, o.str());
}

// Waits for the ledger's writer and for SQLite: on the sideline's thread, with values only.
Task<void> explain(Gateway& gateway, net::Exchange& exchange) {
  auto* ledger = gateway.state().ledger();
  auto config = gateway.state().config();
  std::string id(beneath(exchange, "/intertie/v1/explain/"));
  std::function<Result<std::string>()> read = [ledger, config, id] {
    if (ledger != nullptr) ledger->flush();
    return ledger::receipt_json(config->paths.receipts_file, id);
  };
  auto found = co_await gateway.sideline().offload(std::move(read));
  if (!found) (void)co_await respond_failure(exchange, found.error());
  else (void)co_await exchange.respond(200, kJson, {}, *found);
}

Task<void> receipts(Gateway& gateway, net::Exchange& exchange) {
  constexpr std::size_t kMost = 500;
  std::size_t most = 50;
  auto asked = parameter(exchange.query(), "limit");
  if (!asked.empty()) std::from_chars(asked.data(), asked.data() + asked.size(), most);
  most = std::min(most, kMost);
  auto after = parse_call_id(parameter(exchange.query(), "after"));
  auto config = gateway.state().config();
  std::function<Result<std::string>()> read = [config, most, after]() -> Result<std::string> {
    TRY(auto rows, ledger::recent_json(config->paths.receipts_file, most, after));
    json::Array list;
    for (const auto& row : rows) list.raw(row);
    return json::Object{}.add("object", "list").raw("data", list.str()).str();
  };
  auto list = co_await gateway.sideline().offload(std::move(read));
  if (!list) (void)co_await respond_failure(exchange, list.error());
  else (void)co_await exchange.respond(200, kJson, {}, *list);
}

Task<void> change_model(Gateway& gateway, net::Exchange& exchange) {
  auto rest = beneath(exchange, "/intertie/v1/models/");
  auto slash = rest.rfind('/');
  auto verb = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
  std::string name(rest.substr(0, slash));
  auto* engines = gateway.state().engines();
  Result<> done = bad_request("POST /intertie/v1/models/NAME/load or …/unload", "unknown_url");
  if (engines == nullptr)
    done = fail(FailureKind::Unavailable, Fault::LocalResource, "this daemon has no local engine", "no_engine");
  else if (verb == "load") done = engines->load(name);
  else if (verb == "unload") done = engines->unload(name);
  if (!done) (void)co_await respond_failure(exchange, done.error());
  else (void)co_await exchange.respond(200, kJson, {}, R"({"ok":true})");
}

Task<void> rescan(Gateway& gateway, net::Exchange& exchange) {
  if (auto* engines = gateway.state().engines()) engines->rescan();
  (void)co_await exchange.respond(200, kJson, {}, R"({"ok":true})");
}

} // namespace intertie::gateway
