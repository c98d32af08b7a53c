#include "local/supervisor.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/log.hpp"

namespace intertie::local {
namespace {
std::string variable(const char* name) {
  const char* value = std::getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets variables after start
  return value == nullptr ? std::string{} : std::string(value);
}

// A prior for "how good": grows with the logarithm of the size; coarse quantisation costs a little. Only its order matters.
int quality_of(const Gguf& model) {
  if (model.parameters == 0) return 0;
  double score = 10 + 8 * std::log2(static_cast<double>(model.parameters) / 135e6);
  if (model.quantisation.starts_with("Q2") || model.quantisation.starts_with("IQ1") ||
      model.quantisation.starts_with("IQ2"))
    score -= 6;
  return static_cast<int>(std::clamp(score, 1.0, 95.0));
}

void make_private(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
}
} // namespace

Supervisor::Supervisor(Settings settings, const Clock& clock, Limits limits)
    : settings_(std::move(settings)),
      clock_(clock),
      limits_(limits),
      book_(settings_.state_dir + "/rates.json"),
      cores_(static_cast<int>(std::max(1U, std::thread::hardware_concurrency()))) {}
Supervisor::~Supervisor() { mailbox_->close(); }

void Supervisor::run() {
  bandwidth_ = memory_bandwidth();
  cgroups_ = take_own_cgroup();
  book_.load();
  configure(settings_);
  remove_stale_sockets();
  context_.run();
  mailbox_->close();
}

void Supervisor::spawn(Task<> task) {
  ++tasks_;
  asio::co_spawn(context_, std::move(task), [this](const std::exception_ptr& error) {
    --tasks_;
    if (error) std::rethrow_exception(error);
    end_if_done();
  });
}

void Supervisor::end_if_done() {
  if (stopping_ && tasks_ == 0) work_.reset();
}

void Supervisor::configure(Settings settings) {
  settings_ = std::move(settings);
  for (const auto& folder : {settings_.runtime_dir, settings_.state_dir, settings_.state_dir + "/slots",
                             settings_.state_dir + "/engine-cache"})
    make_private(folder);
  auto engine = find_engine(settings_, variable("PATH"));
  engine_ = engine ? *engine : std::string{};
  engine_problem_ = engine ? std::string{} : engine.error().message;
  rescan();
}

ModelFlags Supervisor::flags_for(const std::string& name) const {
  for (const auto& [model, flags] : settings_.flags)
    if (model == name) return flags;
  return {};
}

void Supervisor::refresh(Model& model) {
  auto flags = flags_for(model.entry.name);
  bool other_child = flags.context != model.flags.context || flags.slots != model.flags.slots ||
                     flags.arguments != model.flags.arguments;
  model.flags = std::move(flags);
  if (other_child && model.run && !model.run->stopping)
    drain(model, false); // the next one is started with the new flags
  model.permanent = false;
  model.halved = false;
  model.backoff.reset();
  if (!model.run) {
    model.problem = model.entry.problem;
    model.state = model.problem.empty() ? State::Stopped : State::Failed;
    model.permanent = !model.problem.empty();
  }
  model.halvings = 0;
  find_rates(model);
  if (model.caps == Cap::None)
    model.caps = Cap::JsonObject | Cap::JsonSchema | Cap::Logprobs | Cap::ForcedTools |
                 (model.entry.model.tools ? Cap::Tools : Cap::None);
}

// For the threads it would have now.
void Supervisor::find_rates(Model& model) const {
  auto plan = plan_for(model);
  model.key = rates_key(model.entry.file, model.entry.size, model.entry.modified, plan.threads, engine_);
  const auto* known = book_.find(model.key);
  model.rates = known != nullptr ? *known : guess_rates(model.entry.model, plan.threads, bandwidth_);
  estimate_need(model);
}

// Its child is idle: the next one gets half the threads, if there is a half and nobody said how many it is to have.
void Supervisor::use_fewer_threads(Model& model) {
  model.crowding.forget();
  auto now = plan_for(model);
  ++model.halvings;
  auto fewer = plan_for(model);
  if (fewer.threads == now.threads && fewer.batch_threads == now.batch_threads) {
    --model.halvings;
    return;
  }
  log::info(
      "local: this machine is crowded: {} is started anew with {} thread(s) instead of {}, and {} instead of {} "
      "to read",
      model.entry.name, fewer.threads, now.threads, fewer.batch_threads, now.batch_threads);
  find_rates(model);
  drain(model, false);
  model.wanted = true;
}

void Supervisor::rescan() {
  if (stopping_) return;
  auto entries = catalogue_.scan(store_places(settings_, variable));
  std::set<std::string> names;
  order_.clear();
  for (auto& entry : entries) {
    order_.push_back(entry.name);
    names.insert(entry.name);
    auto& model = models_[entry.name];
    if (!model) model = std::make_shared<Model>();
    if (model->entry.modified != entry.modified || model->entry.file != entry.file) model->caps = Cap::None;
    model->entry = std::move(entry);
    refresh(*model);
  }
  for (auto at = models_.begin(); at != models_.end();) {
    if (names.contains(at->first)) {
      ++at;
      continue;
    }
    fail_waiting(*at->second, {FailureKind::NotFound, Fault::LocalResource,
                               fmt::format("the model {} is gone from this machine", at->first), "model_not_found"});
    if (at->second->run) drain(*at->second, false);
    at = models_.erase(at);
  }
  publish();
  schedule();
}

ChildPlan Supervisor::plan_for(const Model& model) const {
  // A guessed speed may be three times too good; a batch that is too long can't be cancelled in time.
  double rate = model.rates.measured ? model.rates.prompt : model.rates.prompt / 3;
  auto plan = plan_child(settings_, model.flags, model.entry.model, model.entry.file, cores_, rate);
  plan.name = model.entry.name;
  bool ours = settings_.threads == 0 && !settings_.dedicated; // a person's number is a person's
  for (int i = 0; ours && i < model.halvings; ++i) {
    auto fewer = halved({plan.threads, plan.batch_threads});
    plan.threads = fewer.one;
    plan.batch_threads = fewer.batch;
  }
  if (model.halved) plan.fit.context = std::max(256U, plan.fit.context / 2);
  return plan;
}

std::string Supervisor::socket_of(std::uint64_t run) const {
  return fmt::format("{}/e-{}-{}.sock", settings_.runtime_dir, ::getpid(), run);
}

// A daemon that was killed outright leaves its sockets behind; "e-PID-N.sock" of a process that is gone is nobody's.
void Supervisor::remove_stale_sockets() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(settings_.runtime_dir, error)) {
    auto name = entry.path().filename().string();
    int pid = 0;
    if (!name.starts_with("e-") || !name.ends_with(".sock")) continue;
    auto [end, bad] = std::from_chars(name.data() + 2, name.data() + name.size(), pid);
    if (bad == std::errc{} && *end == '-' && pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH)
      ::unlink(entry.path().c_str());
  }
}

Supervisor::ModelPtr Supervisor::find(const std::string& name) const {
  auto at = models_.find(name);
  return at == models_.end() ? nullptr : at->second;
}

void Supervisor::load(const std::string& name) {
  auto model = find(name);
  if (!model || stopping_) return;
  if (model->permanent) refresh(*model); // a person says: try again
  model->wanted = true;
  schedule();
}

void Supervisor::unload(const std::string& name) {
  auto model = find(name);
  if (!model) return;
  model->wanted = false;
  if (model->run) drain(*model, false);
}

void Supervisor::stop() {
  stopping_ = true;
  for (auto* nap : naps_) nap->cancel();
  for (auto& [name, model] : models_) {
    fail_waiting(*model, {FailureKind::Cancelled, Fault::Ours, "the daemon is stopping", "stopping"});
    model->wanted = false;
    if (model->run) drain(*model, true);
  }
  end_if_done();
}

namespace {
// Speeds are learned with every answer; only a change that could change a decision is one.
bool near(double a, double b) { return std::abs(a - b) <= 0.05 * std::max(std::abs(a), std::abs(b)); }

bool same_facts(const Status& a, const Status& b) {
  return a.facts.name == b.facts.name && a.state == b.state && a.problem == b.problem && a.file == b.file &&
         a.fits == b.fits && a.calibrated == b.calibrated && a.pid == b.pid && a.facts.caps == b.facts.caps &&
         a.facts.context == b.facts.context && near(a.facts.prompt_rate, b.facts.prompt_rate) &&
         near(a.facts.output_rate, b.facts.output_rate) && near(a.facts.load_seconds, b.facts.load_seconds);
}
} // namespace

void Supervisor::publish() {
  std::vector<Status> all;
  auto limit = budget();
  for (const auto& name : order_)
    if (auto model = find(name)) all.push_back(status_of(*model, limit));
  auto before = published.get();
  bool changed = !std::ranges::equal(*before, all, same_facts);
  if (!changed) // drift in small steps must not hide a large one
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].facts.prompt_rate = (*before)[i].facts.prompt_rate;
      all[i].facts.output_rate = (*before)[i].facts.output_rate;
      all[i].facts.load_seconds = (*before)[i].facts.load_seconds;
    }
  published.set(std::move(all));
  if (changed) version.fetch_add(1, std::memory_order_release);
}

void Supervisor::publish_soon() {
  if (publishing_ || stopping_) return;
  publishing_ = true;
  spawn(publish_later());
}

Task<> Supervisor::publish_later() {
  auto executor = co_await asio::this_coro::executor;
  Timer timer(executor, milliseconds{20});
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable_t<Executor>{}));
  publishing_ = false;
  publish();
}

Status Supervisor::status_of(const Model& model, std::uint64_t limit) const {
  const auto& gguf = model.entry.model;
  auto plan = model.run ? model.run->plan : plan_for(model);
  auto needed = model.needed;
  Status out;
  auto& facts = out.facts;
  facts.provider = "local";
  facts.name = model.entry.name;
  facts.caps = model.caps;
  facts.caps_known = true;
  facts.context = plan.fit.context;
  facts.price.known = true;
  facts.quality = quality_of(gguf);
  facts.prompt_rate = model.rates.prompt;
  facts.output_rate = model.rates.output;
  facts.load_seconds = model.rates.load_seconds;
  facts.resident_bytes = model.run && model.run->was_ready ? model.run->reserved : needed;
  out.state = model.state;
  out.file = model.entry.file;
  out.origin = model.entry.origin;
  out.quantisation = gguf.quantisation;
  out.architecture = gguf.architecture;
  out.parameters = gguf.parameters;
  out.file_bytes = gguf.file_bytes;
  out.fits = model.run || needed + unevictable(model) <= limit;
  out.calibrated = model.rates.measured;
  out.overhead_ms = model.rates.overhead_ms;
  out.problem = !model.problem.empty() ? model.problem : engine_problem_;
  if (model.run) {
    out.pid = model.run->child.pid();
    out.running = static_cast<int>(model.run->grants.size());
  }
  out.waiting = static_cast<int>(model.waiting.size());
  return out;
}
} // namespace intertie::local
