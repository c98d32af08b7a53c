#include "gateway/gateway.hpp"

#include <array>

#include <fmt/format.h>

#include "gateway/chat_reply.hpp"

namespace intertie::gateway {
namespace {

struct Route {
  std::string_view method;
  std::string_view path; // a trailing slash: everything beneath it
  Task<void> (*handle)(Gateway&, net::Exchange&);
};
// THE table. Hot rows first.
constexpr std::array kRoutes{
    Route{"POST", "/v1/chat/completions", chat_completions},
    Route{"GET", "/v1/models", list_models},
    Route{"GET", "/v1/models/", list_models},
    Route{"GET", "/healthz", health},
    Route{"GET", "/health", health},
    Route{"GET", "/readyz", ready},
    Route{"GET", "/metrics", metrics},
    Route{"GET", "/intertie/v1/status", status},
    Route{"GET", "/intertie/v1/explain/", explain},
    Route{"GET", "/intertie/v1/receipts", receipts},
    Route{"POST", "/intertie/v1/models/", change_model},
    Route{"POST", "/intertie/v1/rescan", rescan},
};

bool matches(const Route& route, std::string_view path) {
  return route.path.ends_with('/') ? path.starts_with(route.path) && path.size() > route.path.size()
                                   : path == route.path;
}

// The engines' Lease as the slot that provider/ knows.
class Slot final : public provider::LocalSlot {
 public:
  explicit Slot(local::Lease lease) : lease_(std::move(lease)) {}
  const std::string& socket() const override { return lease_.socket(); }
  const Secret& api_key() const override { return lease_.api_key(); }
  void progress() override { lease_.progress(); }
  void pausing() override { lease_.pausing(); }
  void refused() override { lease_.refused(); }
  void finished(const Timings& timings) override { lease_.finished(timings); }

 private:
  local::Lease lease_;
};

Task<Result<std::unique_ptr<provider::LocalSlot>>> acquire(local::Engines* engines, std::string model, Call& call) {
  if (engines == nullptr)
    co_return fail(FailureKind::Unavailable, Fault::LocalResource,
                   "this daemon runs without a local engine "
                   "(engine = \"none\")",
                   "no_engine");
  CO_TRY(auto lease, co_await engines->acquire(std::move(model), call));
  co_return std::unique_ptr<provider::LocalSlot>(std::make_unique<Slot>(std::move(lease)));
}

Task<void> wrong_method(net::Exchange& exchange, const Route& route) {
  std::array allow{net::Header{"Allow", route.method}};
  Failure failure{
      .kind = FailureKind::BadRequest,
      .fault = Fault::Client,
      .message = fmt::format("{} takes {}, not {}", route.path, route.method, exchange.method().substr(0, 20)),
      .code = "method_not_allowed",
      .param = {}};
  (void)co_await exchange.respond(405, "application/json", allow, wire::render_chat_failure(failure));
}

Task<void> no_such_path(net::Exchange& exchange) {
  Failure failure{
      .kind = FailureKind::NotFound,
      .fault = Fault::Client,
      .message = fmt::format("no such path: {} {}; Intertie serves POST /v1/chat/completions and GET /v1/models",
                             exchange.method().substr(0, 20), exchange.path().substr(0, 200)),
      .code = "unknown_url",
      .param = {}};
  (void)co_await respond_failure(exchange, failure);
}

} // namespace

Gateway::Gateway(State& state, net::Worker& worker)
    : state_(state),
      worker_(worker),
      client_(worker),
      opener_(client_, [engines = state.engines()](std::string model,
                                                   Call& call) { return acquire(engines, std::move(model), call); }),
      services_(state.services()),
      sideline_(worker) {}

// Not a coroutine itself: every answer would pay for one more frame.
Task<void> Gateway::handle(net::Exchange& exchange) {
  auto method = exchange.method() == "HEAD" ? std::string_view{"GET"} : exchange.method();
  const Route* other_method = nullptr;
  for (const auto& route : kRoutes) {
    if (!matches(route, exchange.path())) continue;
    if (route.method == method) return route.handle(*this, exchange);
    other_method = &route;
  }
  return other_method != nullptr ? wrong_method(exchange, *other_method) : no_such_path(exchange);
}

} // namespace intertie::gateway
