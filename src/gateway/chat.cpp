#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "core/text.hpp"
#include "gateway/chat_reply.hpp"
#include "gateway/gateway.hpp"

namespace intertie::gateway {
namespace {

// The product token of the user agent ("OpenAI", "curl"): who asks, for the Receipt.
std::string_view caller_of(const net::Exchange& exchange) {
  auto agent = exchange.header("user-agent");
  return agent.substr(0, std::min<std::size_t>({agent.find('/'), agent.find(' '), 40}));
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value) || value < 0)
    return std::nullopt;
  return value;
}

// Hints of the request. They may tighten what policy allows; nothing here can loosen it.
Result<route::Hints> read_hints(const net::Exchange& exchange, Call& call) {
  route::Hints hints;
  if (auto place = exchange.header("x-intertie-place"); !place.empty()) {
    hints.furthest = parse_place(place);
    if (!hints.furthest)
      return bad_request("X-Intertie-Place is device, edge or cloud: the furthest place this request may go",
                         "bad_hint");
  }
  if (auto cost = exchange.header("x-intertie-max-cost"); !cost.empty()) {
    auto dollars = number(cost);
    if (!dollars || *dollars > 1e9) return bad_request("X-Intertie-Max-Cost is a number of US dollars", "bad_hint");
    hints.max_micro_usd = static_cast<std::int64_t>(*dollars * 1e6);
  }
  if (auto limit = exchange.header("x-intertie-deadline"); !limit.empty()) {
    auto s = number(limit);
    if (!s || *s > 86'400) return bad_request("X-Intertie-Deadline is a number of seconds", "bad_hint");
    call.deadline = std::min(call.deadline, call.started + milliseconds{static_cast<std::int64_t>(*s * 1e3)});
  }
  if (auto only = exchange.header("x-intertie-route-only"); !only.empty())
    hints.route_only = only != "0" && only != "false";
  return hints;
}

} // namespace

Task<void> chat_completions(Gateway& gateway, net::Exchange& exchange) {
  auto& state = gateway.state();
  state.refresh();
  auto now = state.clock().now();
  auto config = state.config();
  Call call{make_call_id(state.clock().wall()),
            state.clock(),
            now,
            now + config->server.request_timeout,
            {},
            caller_of(exchange)};
  auto hints = read_hints(exchange, call);
  if (!hints) {
    (void)co_await respond_failure(exchange, hints.error());
    co_return;
  }
  auto ask = wire::read_chat_ask(exchange.body());
  if (!ask) {
    (void)co_await respond_failure(exchange, ask.error());
    co_return;
  }
  exchange.watch(call.cancellation);
  net::Worker::Watched watched(gateway.worker(), call);
  ChatReply reply(exchange, *ask, state.clock());
  co_await engine::serve(call, *ask, {"chat.completions", call.caller, *hints, config->server.keepalive_after}, reply,
                         gateway.opener(), gateway.services());
}

Task<void> list_models(Gateway& gateway, net::Exchange& exchange) {
  constexpr std::string_view kPrefix = "/v1/models/";
  gateway.state().refresh();
  auto catalogue = gateway.state().catalogue();
  std::vector<wire::ListedModel> models{{"auto", "intertie", 0}};
  for (const auto& entry : catalogue->entries())
    models.push_back({entry.facts.alias.empty() ? entry.facts.provider + "/" + entry.facts.name : entry.facts.alias,
                      entry.facts.provider, 0});
  if (!exchange.path().starts_with(kPrefix)) {
    (void)co_await exchange.respond(200, "application/json", {}, wire::render_model_list(models));
    co_return;
  }
  auto decoded = text::percent_decode(exchange.path().substr(kPrefix.size())); // SDKs send provider%2Fmodel
  std::string_view id = decoded;
  for (std::size_t i = 0; i < models.size(); ++i) {
    bool bare = i > 0 && catalogue->entries()[i - 1].facts.name == id;
    if (models[i].id != id && !bare) continue;
    (void)co_await exchange.respond(200, "application/json", {}, wire::render_model(models[i]));
    co_return;
  }
  auto near = text::suggest(id, catalogue->names());
  std::string hint =
      near.empty() ? "; GET /v1/models lists what there is" : fmt::format("; did you mean {}?", fmt::join(near, ", "));
  Failure failure{.kind = FailureKind::NotFound,
                  .fault = Fault::Client,
                  .message = fmt::format("the model `{}` does not exist{}", id.substr(0, 200), hint),
                  .code = "model_not_found",
                  .param = "model"};
  (void)co_await respond_failure(exchange, failure);
}

} // namespace intertie::gateway
