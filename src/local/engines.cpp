#include "local/engines.hpp"

#include <pthread.h>
#include <future>

#include <thread>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/text.hpp"
#include "local/supervisor.hpp"

namespace intertie::local {

std::string_view to_string(State state) {
  switch (state) {
    case State::Stopped: return "stopped";
    case State::Starting: return "starting";
    case State::Probing: return "probing";
    case State::Ready: return "ready";
    case State::Draining: return "draining";
    case State::Failed: return "failed";
  }
  return "unknown";
}

struct Lease::Slot {
  std::shared_ptr<Hold> hold;
};
Lease::Lease(Lease&&) noexcept = default;
Lease& Lease::operator=(Lease&&) noexcept = default;
Lease::~Lease() = default;

void Lease::progress() {
  if (!slot_) return;
  slot_->hold->grant->last_event.store(TimePoint::clock::now().time_since_epoch().count(), std::memory_order_relaxed);
}
void Lease::pausing() {
  if (slot_) slot_->hold->grant->last_event.store(kPausing, std::memory_order_relaxed);
}
void Lease::refused() {
  if (slot_) slot_->hold->grant->refused = true;
}
void Lease::finished(const Timings& timings) {
  if (!slot_) return;
  slot_->hold->grant->timings = timings;
  slot_->hold->grant->finished = true;
}

class Engines::Impl {
 public:
  Impl(Settings settings, const Clock& clock, const Limits& limits)
      : clock_(clock), supervisor_(std::move(settings), clock, limits), thread_([this] {
          ::pthread_setname_np(::pthread_self(), "supervisor");
          supervisor_.run();
        }) {}
  ~Impl() {
    post([](Supervisor& supervisor) { supervisor.stop(); });
    thread_.join();
  }
  template <class F>
  bool post(F work) {
    return supervisor_.mailbox()->post(
        [supervisor = &supervisor_, work = std::move(work)]() mutable { work(*supervisor); });
  }
  Result<> known(const std::string& name) const {
    std::vector<std::string> names;
    for (const auto& status : *supervisor_.published.get()) {
      if (status.facts.name == name) return {};
      names.push_back(status.facts.name);
    }
    auto near = text::suggest(name, names);
    return fail(FailureKind::NotFound, Fault::Client,
                near.empty()
                    ? fmt::format("there is no model {} on this machine", name)
                    : fmt::format("there is no model {} on this machine; did you mean {}?", name, near.front()),
                "model_not_found", "model");
  }
  const Clock& clock_;
  Supervisor supervisor_;
  std::thread thread_;
};

namespace {
// Ends the waiting in every way a coroutine may end, destruction included.
struct Waiting {
  explicit Waiting(std::shared_ptr<Waiter> one) : waiter(std::move(one)) {}
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() { waiter->leave(); }
  std::shared_ptr<Waiter> waiter;
};

Failure stopped_waiting(const Call& call, const std::string& model) {
  if (call.cancellation.reason() == CancelReason::ClientGone)
    return {FailureKind::Cancelled, Fault::Client, "the client is gone", "client_gone"};
  if (call.cancellation.reason() == CancelReason::Stopping)
    return {FailureKind::Cancelled, Fault::Ours, "the daemon is stopping", "stopping"};
  return {FailureKind::Timeout, Fault::LocalResource,
          fmt::format("the deadline passed while waiting for {}: allow more time, or give it more slots", model),
          "queue_timeout"};
}
} // namespace

Engines::Engines(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engines::~Engines() = default;

Result<std::unique_ptr<Engines>> Engines::start(Settings settings, const Clock& clock) {
  return start(std::move(settings), clock, Limits{});
}
Result<std::unique_ptr<Engines>> Engines::start(Settings settings, const Clock& clock, const Limits& limits) {
  constexpr std::size_t kLongestSocket = 107;
  if (settings.runtime_dir.empty() || settings.runtime_dir.size() + 40 > kLongestSocket)
    return bad_request(
        fmt::format("the runtime folder \"{}\" is {}: sockets live there and may have 107 characters at most",
                    settings.runtime_dir, settings.runtime_dir.empty() ? "missing" : "too long"));
  std::unique_ptr<Engines> engines(new Engines(std::make_unique<Impl>(std::move(settings), clock, limits)));
  // Whoever says that it listens must know its models: the first scan is worth a moment (headers only, some ms).
  auto scanned = std::make_shared<std::promise<void>>();
  engines->impl_->post([scanned](Supervisor&) { scanned->set_value(); });
  (void)scanned->get_future().wait_for(seconds{3});
  return engines;
}

Task<Result<Lease>> Engines::acquire(std::string model, Call& call) {
  constexpr auto kTuple = asio::as_tuple(asio::use_awaitable_t<Executor>{});
  if (call.cancellation.cancelled()) co_return std::unexpected(stopped_waiting(call, model));
  auto executor = co_await asio::this_coro::executor;
  Timer timer(executor);
  timer.expires_after(call.left());
  Waiting waiting(std::make_shared<Waiter>(executor));
  auto& waiter = *waiting.waiter;
  waiter.model = model;
  waiter.arrived = impl_->clock_.now();
  waiter.deadline = call.deadline;
  waiter.timer = &timer;
  OnCancel hook(call.cancellation, [](void* to) { static_cast<Timer*>(to)->cancel(); }, &timer);
  bool there = impl_->post([one = waiting.waiter](Supervisor& supervisor) { supervisor.enqueue(one); });
  if (there) co_await timer.async_wait(kTuple);
  if (!waiter.result) {
    waiter.leave();
    impl_->post([one = waiting.waiter](Supervisor& supervisor) { supervisor.abandon(one); });
    co_return std::unexpected(stopped_waiting(call, model));
  }
  if (!*waiter.result) co_return std::unexpected(std::move(*waiter.result).error());
  Lease lease;
  lease.slot_ = std::make_shared<Lease::Slot>(**waiter.result);
  waiter.result.reset();
  lease.socket_ = lease.slot_->hold->socket;
  lease.key_ = lease.slot_->hold->key;
  co_return Result<Lease>(std::move(lease));
}

milliseconds first_token(const Status& status, std::uint32_t prompt_tokens) {
  Rates rates;
  rates.prompt = status.facts.prompt_rate;
  rates.overhead_ms = status.overhead_ms;
  bool cold = status.state == State::Stopped || status.state == State::Failed;
  return first_token(rates, prompt_tokens) +
         milliseconds{cold ? static_cast<std::int64_t>(status.facts.load_seconds * 1000) : 0};
}

std::vector<Status> Engines::models() const { return *impl_->supervisor_.published.get(); }
unsigned Engines::version() const { return impl_->supervisor_.version.load(std::memory_order_acquire); }
void Engines::rescan() {
  impl_->post([](Supervisor& supervisor) { supervisor.rescan(); });
}
void Engines::configure(Settings settings) {
  impl_->post([settings = std::move(settings)](Supervisor& supervisor) { supervisor.configure(settings); });
}
Result<> Engines::load(const std::string& model) {
  TRY_VOID(impl_->known(model));
  impl_->post([model](Supervisor& supervisor) { supervisor.load(model); });
  return {};
}
Result<> Engines::unload(const std::string& model) {
  TRY_VOID(impl_->known(model));
  impl_->post([model](Supervisor& supervisor) { supervisor.unload(model); });
  return {};
}
} // namespace intertie::local
