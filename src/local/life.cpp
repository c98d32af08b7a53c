// One child's life: spawn, wait until it answers, probe it, watch it, stop it, and say why it ended.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include <fmt/format.h>
#include <simdjson.h>
#include <sys/random.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/json.hpp"
#include "core/log.hpp"
#include "local/supervisor.hpp"

namespace intertie::local {
namespace {
// A person who asks again at once shouldn't pay for breaking a calibration off.
constexpr milliseconds kCalm{700};
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable_t<Executor>{});

Secret random_key() {
  std::array<unsigned char, 24> bytes{};
  CHECK(::getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  std::string text;
  for (auto byte : bytes) text += fmt::format("{:02x}", byte);
  return Secret(std::move(text));
}

std::unexpected<Failure> unfit(std::string why) {
  return fail(FailureKind::Unavailable, Fault::LocalResource, std::move(why));
}
} // namespace

Task<> Supervisor::pause(RunPtr run, milliseconds most) {
  run->pulse.expires_after(most);
  co_await run->pulse.async_wait(kTuple);
}

Task<> Supervisor::live(ModelPtr model, RunPtr run) {
  publish();
  auto came_up = co_await bring_up(model, run);
  if (came_up) {
    run->was_ready = true;
    model->state = run->stopping ? State::Draining : State::Ready;
    model->last_used = clock_.now();
    publish();
    schedule();
    co_await watch(model, run);
    model->state = State::Draining; // whatever ended it: nobody gets a slot of it any more
    publish();
  }
  run->died = run->exited && !run->was_ready;
  if (run->child.pid() > 0) co_await end(run);
  ::unlink(run->plan.socket.c_str());
  cgroups_.remove(run->id);
  finish(*model, *run, came_up);
}

Task<Result<>> Supervisor::bring_up(ModelPtr model, RunPtr run) {
  run->key = random_key();
  ::unlink(run->plan.socket.c_str()); // the engine never does, and refuses to start over a stale one
  run->memory_kills = memory_kills();
  SpawnOrder order{engine_, child_arguments(run->plan), child_environment(run->plan, run->key, environ)};
  auto child = Child::spawn(order);
  for (auto& entry : order.environment) explicit_bzero(entry.data(), entry.size());
  if (!child) co_return std::unexpected(child.error());
  run->child = *std::move(child);
  // Before it has loaded anything: memory stays on the account of the cgroup that it was taken in.
  if (cgroups_.usable() && !cgroups_.confine(run->id, run->child.pid(), memory_ceiling(run->reserved)))
    log::warn("local: {} runs without a memory ceiling: its cgroup could not be made", model->entry.name);
  spawn(read_log(run));
  spawn(wait_exit(run));
  auto allowed = limits_.start + milliseconds{model->entry.model.file_bytes / 100'000};
  auto until = run->started + allowed;
  milliseconds step{4};
  while (!run->exited && !(run->stopping && run->hurry)) {
    auto health = co_await ask_child(run->plan.socket, run->key, "/health", {}, limits_.health_patience);
    if (health && health->status == 200) break;
    if (clock_.now() > until) {
      run->killed = true;
      co_return unfit(
          fmt::format("the engine was not ready after {} s", std::chrono::duration_cast<seconds>(allowed).count()));
    }
    if (!run->exited) co_await pause(run, step);
    step = std::min(step * 5 / 4 + milliseconds{1}, milliseconds{100});
  }
  if (run->exited || run->stopping) co_return unfit("stopped while starting");
  model->state = State::Probing;
  publish();
  co_return co_await probe(model, run);
}

// Ready means: it told us what it is, and it answered. A model that can't follow a grammar is used without one.
Task<Result<>> Supervisor::probe(ModelPtr model, RunPtr run) {
  auto props = co_await ask_child(run->plan.socket, run->key, "/props", {}, limits_.probe);
  if (!props) co_return std::unexpected(props.error());
  simdjson::dom::parser parser;
  simdjson::dom::element document;
  if (props->status != 200 || parser.parse(props->body).get(document))
    co_return unfit(fmt::format("the engine's /props answered {}", props->status));
  std::uint64_t context = 0;
  if (!document["default_generation_settings"]["n_ctx"].get_uint64().get(context) && context < run->plan.fit.context)
    co_return unfit(
        fmt::format("the engine took a context of {} tokens instead of {}", context, run->plan.fit.context));
  bool tools = false;
  if (!document["chat_template_caps"]["supports_tools"].get_bool().get(tools))
    model->caps = tools ? model->caps | Cap::Tools : missing(model->caps, Cap::Tools);
  auto word = co_await ask_child(run->plan.socket, run->key, "/completion",
                                 R"({"prompt":"Hello","n_predict":1,"cache_prompt":false,"seed":1})", limits_.probe);
  if (!word) co_return std::unexpected(word.error());
  if (word->status != 200)
    co_return unfit(fmt::format("the model can't complete a text: {} {}", word->status, word->body.substr(0, 200)));
  auto grammar = co_await ask_child(
      run->plan.socket, run->key, "/completion",
      R"({"prompt":"Hello","n_predict":4,"cache_prompt":false,"seed":1,"grammar":"root ::= \"a\""})", limits_.probe);
  if (!grammar) co_return std::unexpected(grammar.error());
  std::string_view content;
  bool obeyed =
      grammar->status == 200 && !parser.parse(grammar->body)["content"].get_string().get(content) && content == "a";
  if (!obeyed) model->caps = missing(model->caps, Cap::JsonObject | Cap::JsonSchema | Cap::Tools | Cap::ForcedTools);
  auto resident = resident_bytes(run->child.pid());
  if (resident > 0) {
    run->reserved = resident + run->plan.fit.prompt_cache;
    model->needed = run->reserved;
    model->rates.resident = resident;
    model->rates.context = run->plan.fit.context;
    model->rates.slots = run->plan.fit.slots;
  }
  model->rates.load_seconds = std::chrono::duration<double>(clock_.now() - run->started).count();
  book_.put(model->key, model->rates);
  co_return Result<>{};
}

Task<> Supervisor::watch(ModelPtr model, RunPtr run) {
  auto health_due = clock_.now() + limits_.health_every;
  while (!run->exited && run->stuck.empty()) {
    if (run->stopping && (run->hurry || run->grants.empty())) co_return;
    auto now = clock_.now();
    auto keep = model->flags.keep_alive.value_or(settings_.keep_alive);
    bool idle = run->grants.empty() && model->waiting.empty();
    bool leaves = idle && !model->flags.pinned && keep >= seconds{0} && !stopping_;
    if (leaves && now - model->last_used >= keep) {
      log::info("local: {} was idle for {} s and is unloaded", model->entry.name, keep.count());
      drain(*model, false);
      continue;
    }
    bool unmeasured = idle && limits_.calibrate && !run->calibrated && !model->rates.measured && !run->stopping;
    if (unmeasured && now - model->last_used >= kCalm) {
      co_await calibrate(model, run);
      continue;
    }
    if (idle && model->crowding.crowded() && !run->stopping) {
      use_fewer_threads(*model);
      continue;
    }
    look_for_stalls(*model, *run);
    if (!run->suspects.empty() && run->suspects.front().first <= now) co_await check_suspects(model, run);
    if (now >= health_due && !run->exited) {
      auto health = co_await ask_child(run->plan.socket, run->key, "/health", {}, limits_.health_patience);
      run->health_misses = health && health->status == 200 ? 0 : run->health_misses + 1;
      if (run->health_misses >= limits_.health_misses) run->stuck = "it stopped answering health checks";
      health_due = clock_.now() + limits_.health_every;
      continue;
    }
    if (run->exited || !run->stuck.empty()) break;
    auto next = std::min(health_due - now, TimePoint::duration{limits_.health_every});
    if (unmeasured) next = std::min(next, model->last_used + kCalm - now);
    if (leaves) next = std::min(next, model->last_used + keep - now);
    co_await pause(run, std::max(milliseconds{1}, std::chrono::ceil<milliseconds>(next)));
  }
  if (!run->exited) run->killed = true;
}

// Progress, not health: a wedged engine answers /health for a while. A slot that is silent while others of the same child
// advance is left to its reader's own patience; when all are silent, the child is stuck.
void Supervisor::look_for_stalls(Model& model, Run& run) {
  if (run.grants.empty()) return;
  auto batch = model.rates.prompt > 0
                   ? milliseconds{static_cast<std::int64_t>(run.plan.fit.batch / model.rates.prompt * 1000)}
                   : milliseconds{0};
  auto patience = std::max(limits_.stall, std::min(5 * batch, milliseconds{600'000}));
  auto now = clock_.now();
  std::int64_t latest = 0;
  for (const auto& grant : run.grants) latest = std::max(latest, grant->last_event.load(std::memory_order_relaxed));
  if (latest == kPausing) return;
  if (now - TimePoint{TimePoint::duration{latest}} > patience)
    run.stuck = fmt::format("no answer of it advanced for {} s", std::chrono::duration_cast<seconds>(patience).count());
}

// An answer whose reader left must have stopped by now; one that goes on holds a slot that we would grant again.
Task<> Supervisor::check_suspects(ModelPtr model, RunPtr run) {
  run->suspects.clear();
  auto before = run->grants.size();
  auto slots = co_await ask_child(run->plan.socket, run->key, "/slots", {}, limits_.suspect);
  if (slots && slots->status == 501) co_return; // switched off by a person's flags
  simdjson::dom::parser parser;
  simdjson::dom::array all;
  if (!slots || parser.parse(slots->body).get_array().get(all)) {
    if (run->grants.empty() && before == 0 && !run->exited) run->stuck = "it is busy although nobody waits for it";
    co_return;
  }
  std::size_t busy = 0;
  for (auto slot : all) {
    bool processing = false;
    if (!slot["is_processing"].get_bool().get(processing) && processing) ++busy;
  }
  // Grants that came and went meanwhile make the count vague: only a clear surplus counts.
  if (busy > std::max(before, run->grants.size())) run->stuck = "it goes on with an answer that nobody waits for";
}

// One short run: a prompt of about one batch, a few tokens of output. A person's question ends it at once.
Task<> Supervisor::calibrate(ModelPtr model, RunPtr run) {
  run->calibrated = true;
  run->calibration = std::make_shared<Cut>();
  double guess = 200 / std::max(model->rates.prompt, 0.1) + 32 / std::max(model->rates.output, 0.1);
  int words = guess > 8 ? 40 : 180, tokens = guess > 8 ? 12 : 32;
  std::string prompt;
  for (int i = 0; i < words; ++i) prompt += i % 2 == 0 ? " one" : " two";
  auto body = json::Object{}
                  .add("prompt", prompt)
                  .add("n_predict", tokens)
                  .add("stream", true)
                  .add("return_progress", true)
                  .add("cache_prompt", false)
                  .add("ignore_eos", true)
                  .add("seed", 1)
                  .str();
  auto started = clock_.now();
  auto answer =
      co_await ask_child(run->plan.socket, run->key, "/completion", body, milliseconds{30'000}, run->calibration);
  auto took = std::chrono::duration<double, std::milli>(clock_.now() - started).count();
  run->calibration.reset();
  if (answer && answer->status == 200) {
    auto timings = timings_in(answer->body);
    if (learn(model->rates, timings)) {
      model->rates.overhead_ms = std::clamp(took - timings.prompt_ms - timings.output_ms, 1.0, 1000.0);
      book_.put(model->key, model->rates);
      if (auto saved = book_.save(); !saved) log::warn("local: {}", saved.error().message);
    }
  } else if (!run->exited) {
    run->calibrated = false; // interrupted: again when idle
    run->suspects.emplace_back(clock_.now() + limits_.suspect, 0);
  }
  grant_waiting(*model);
  publish();
}

// SIGTERM, SIGTERM, SIGKILL: the first alone can be lost, or wait for ever for a client that doesn't leave.
Task<> Supervisor::end(RunPtr run) {
  std::array<int, 3> signals{SIGTERM, SIGTERM, SIGKILL};
  if (run->killed) signals = {SIGKILL, SIGKILL, SIGKILL};
  for (int number : signals) {
    if (run->exited) co_return;
    run->child.signal(number);
    auto until = clock_.now() + limits_.terminate;
    while (!run->exited && clock_.now() < until) co_await pause(run, limits_.terminate);
  }
  while (!run->exited) co_await pause(run, limits_.terminate);
}

Task<> Supervisor::wait_exit(RunPtr run) {
  Descriptor descriptor(context_, ::fcntl(run->child.exit_fd(), F_DUPFD_CLOEXEC, 3));
  while (!run->child.reap()) co_await descriptor.async_wait(asio::posix::descriptor_base::wait_read, kTuple);
  run->exited = true;
  run->pulse.cancel();
}

Task<> Supervisor::read_log(RunPtr run) {
  Descriptor descriptor(context_, run->child.release_log_fd());
  std::string buffer(4096, '\0');
  for (;;) {
    auto [error, got] = co_await descriptor.async_read_some(asio::buffer(buffer), kTuple);
    if (error) co_return;
    run->log.append(std::string_view{buffer}.substr(0, got));
  }
}

Task<> Supervisor::wake_later(ModelPtr model, TimePoint at) {
  auto executor = co_await asio::this_coro::executor;
  Timer timer(executor);
  timer.expires_after(std::max(at - clock_.now(), TimePoint::duration{0}));
  naps_.insert(&timer);
  if (!stopping_) co_await timer.async_wait(kTuple);
  naps_.erase(&timer);
  schedule();
}

void Supervisor::finish(Model& model, Run& run, const Result<>& came_up) {
  auto keep = model.run; // `run` lives until the end of this function
  auto now = clock_.now();
  model.run.reset();
  model.state = State::Stopped;
  auto exit = run.child.reap();
  bool asked = run.stopping && run.stuck.empty();
  if (asked || stopping_) {
    if (auto saved = book_.save(); !saved) log::warn("local: {}", saved.error().message);
  } else {
    auto kills = memory_kills();
    bool memory_kill = !kills || !run.memory_kills || *kills != *run.memory_kills;
    auto verdict = exit ? classify_exit(*exit, run.log.text(), {run.was_ready, run.killed, memory_kill})
                        : Verdict{Remedy::Never, came_up ? std::string{} : came_up.error().message};
    if (!run.stuck.empty()) verdict.reason = fmt::format("the engine was restarted: {}", run.stuck);
    else if (!came_up && !run.died) // it is alive and well, but not usable: mostly the same would happen again
      verdict = {run.killed || came_up.error().kind == FailureKind::Timeout ? Remedy::Later : Remedy::Never,
                 came_up.error().message};
    if (verdict.remedy == Remedy::SmallerContext && !model.halved) {
      model.halved = true;
      estimate_need(model);
      model.problem.clear();
    } else {
      model.permanent = verdict.remedy == Remedy::Never;
      model.state = State::Failed;
      model.problem = verdict.reason;
      if (!model.permanent) model.backoff.failed(now);
    }
    log::warn("local: {}: {}", model.entry.name, verdict.reason);
  }
  if (stopping_) return;
  if (auto self = find(model.entry.name); self && self->state == State::Failed && !self->permanent)
    spawn(wake_later(self, self->backoff.retry_at()));
  publish();
  schedule();
  publish_soon();
}
} // namespace intertie::local
