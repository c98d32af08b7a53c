// Who runs: grants slots in the order of asking, starts what is wanted, and makes room by draining what is idle or what
// has been asked for later.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/log.hpp"
#include "core/text.hpp"
#include "local/supervisor.hpp"

#include <poll.h>

namespace intertie::local {

bool Waiter::deliver(Result<std::shared_ptr<Hold>> what) {
  std::lock_guard lock(mutex);
  if (!executor) return false;
  // The caller's thread may stop waiting before this runs; then the Hold dies with the Waiter and gives its slot back.
  asio::post(*executor, [self = shared_from_this(), what = std::move(what)]() mutable {
    self->result.emplace(std::move(what));
    if (self->timer != nullptr) self->timer->cancel();
  });
  return true;
}
void Waiter::leave() {
  timer = nullptr;
  std::lock_guard lock(mutex);
  executor.reset();
}
Hold::~Hold() {
  mailbox->post([supervisor = supervisor, grant = grant] { supervisor->release(grant); });
}

std::uint64_t Supervisor::reserved() const {
  std::uint64_t sum = 0;
  for (const auto& [name, model] : models_)
    if (model->run) sum += model->run->reserved;
  return sum;
}

std::uint64_t Supervisor::budget() const {
  std::uint64_t held = 0;
  for (const auto& [name, model] : models_)
    if (model->run && model->run->child.pid() > 0) held += resident_bytes(model->run->child.pid());
  return memory_budget(settings_.memory_limit, held);
}

std::uint64_t Supervisor::unevictable(const Model& but) const {
  std::uint64_t sum = 0;
  for (const auto& [name, model] : models_)
    if (model.get() != &but && model->run && model->flags.pinned) sum += model->run->reserved;
  return sum;
}

void Supervisor::estimate_need(Model& model) const {
  auto plan = plan_for(model);
  auto fit = predict_memory(model.entry.model, model.entry.repacked, plan.fit);
  // Once measured with the same plan, the measurement is the better prediction.
  bool measured =
      model.rates.resident > 0 && model.rates.context == plan.fit.context && model.rates.slots == plan.fit.slots;
  model.needed = measured ? model.rates.resident + fit.prompt_cache : fit.ceiling();
}

Failure Supervisor::does_not_fit(const Model& model, std::uint64_t needed) const {
  auto pinned = unevictable(model);
  auto limit = budget();
  auto text = fmt::format("{} needs {} of memory with a context of {} tokens, but models may use {}", model.entry.name,
                          text::human_bytes(needed), plan_for(model).fit.context, text::human_bytes(limit));
  if (pinned > 0) text += fmt::format(" and pinned ones hold {} of it", text::human_bytes(pinned));
  text += ": set a smaller `context` for it, choose a smaller model, or raise `memory_limit`";
  return {FailureKind::Unavailable, Fault::LocalResource, std::move(text), "model_does_not_fit"};
}

void Supervisor::fail_waiting(Model& model, const Failure& failure) {
  for (auto& waiter : model.waiting) waiter->deliver(std::unexpected(failure));
  model.waiting.clear();
}

void Supervisor::drain(Model& model, bool hurry) {
  auto& run = *model.run;
  run.stopping = true;
  run.hurry = run.hurry || hurry;
  if (model.state == State::Ready) model.state = State::Draining;
  if (run.calibration && run.calibration->now) run.calibration->now();
  run.pulse.cancel();
}

seconds Supervisor::predicted_wait(const Model& model) const {
  double slots = model.run ? model.run->plan.fit.slots : plan_for(model).fit.slots;
  auto each = model.answer_seconds > 0 ? model.answer_seconds : 1.0;
  double wait = std::ceil((static_cast<double>(model.waiting.size()) + 1) / slots * each);
  return seconds{static_cast<int>(std::clamp(wait, 1.0, 600.0))};
}

void Supervisor::enqueue(std::shared_ptr<Waiter> waiter) {
  auto refuse = [&](Failure failure) { waiter->deliver(std::unexpected(std::move(failure))); };
  auto model = find(waiter->model);
  if (stopping_) return refuse({FailureKind::Cancelled, Fault::Ours, "the daemon is stopping", "stopping"});
  if (!model) {
    return refuse({FailureKind::NotFound, Fault::Client,
                   fmt::format("there is no model {} on this machine: `intertie models "
                               "list` shows which there are",
                               waiter->model),
                   "model_not_found", "model"});
  }
  bool full = model->waiting.size() >= settings_.queue_length;
  bool late = model->answer_seconds > 0 && model->run && model->run->used() >= model->run->plan.fit.slots &&
              clock_.now() + predicted_wait(*model) > waiter->deadline;
  if (full || late) {
    Failure failure{FailureKind::RateLimited, Fault::LocalResource, {}, "queue_full"};
    failure.retry_after = predicted_wait(*model);
    failure.message = fmt::format(
        "{} requests wait for {} already: {}; try again in {} s", model->waiting.size(), waiter->model,
        full ? "its queue is full" : "this one's turn would come after its deadline", failure.retry_after->count());
    return refuse(std::move(failure));
  }
  model->waiting.push_back(std::move(waiter));
  schedule();
  publish_soon();
}

void Supervisor::abandon(const std::shared_ptr<Waiter>& waiter) {
  if (auto model = find(waiter->model)) std::erase(model->waiting, waiter);
  publish_soon();
}

void Supervisor::release(const std::shared_ptr<Grant>& grant) {
  auto model = find(grant->model);
  if (!model || !model->run || model->run->id != grant->run) return; // its child is gone
  auto& run = *model->run;
  std::erase(run.grants, grant);
  auto now = clock_.now();
  model->last_used = now;
  double held = std::chrono::duration<double>(now - grant->granted).count();
  model->answer_seconds = model->answer_seconds == 0 ? held : 0.7 * model->answer_seconds + 0.3 * held;
  if (grant->finished) {
    model->backoff.succeeded();
    // What a crowd slowed down says nothing of the model's speed.
    bool crowd = model->crowding.saw(grant->timings, model->rates.measured ? model->rates.output : 0,
                                     cpu_pressure(limits_.cpu_pressure));
    if (!crowd && learn(model->rates, grant->timings)) book_.put(model->key, model->rates);
  } else {
    run.suspects.emplace_back(now + limits_.suspect, static_cast<int>(run.suspects.size()));
  }
  // A dying child closes its socket some time before its exit can be seen.
  if (grant->refused && run.stuck.empty()) run.stuck = "it accepts no connections";
  run.pulse.cancel();
  grant_waiting(*model);
  schedule();
  publish_soon();
}

void Supervisor::grant_waiting(Model& model) {
  if (model.state != State::Ready || model.run->stopping) return;
  auto& run = *model.run;
  // Dead, though we haven't been told yet: whoever waits gets a slot of the next one.
  pollfd exit{run.child.exit_fd(), POLLIN, 0};
  if (!run.stuck.empty() || ::poll(&exit, 1, 0) > 0) return;
  while (!model.waiting.empty() && run.grants.size() < run.plan.fit.slots) {
    if (run.used() >= run.plan.fit.slots) { // a person comes before our measurements
      if (run.calibration->now) run.calibration->now();
      return;
    }
    auto waiter = std::move(model.waiting.front());
    model.waiting.pop_front();
    auto grant = std::make_shared<Grant>();
    grant->run = run.id;
    grant->model = model.entry.name;
    grant->granted = clock_.now();
    grant->last_event = grant->granted.time_since_epoch().count();
    auto hold = std::make_shared<Hold>(mailbox_, this, grant);
    hold->socket = run.plan.socket;
    hold->key = run.key;
    run.grants.push_back(grant);
    // Nobody there any more: the Hold dies here and its release is posted.
    waiter->deliver(std::move(hold));
    publish_soon();
  }
}

// The idle first, least recently used first; then those whose waiters all came later than ours. Never a pinned one.
bool Supervisor::make_room(const Model& asking, std::uint64_t needed) {
  auto limit = budget();
  std::uint64_t staying = 0; // what will be left once all draining is over
  std::vector<Model*> victims;
  auto first = asking.waiting.empty() ? clock_.now() : asking.waiting.front()->arrived;
  for (auto& [name, model] : models_) {
    if (!model->run || model->run->stopping) continue;
    staying += model->run->reserved;
    bool later = model->waiting.empty() || model->waiting.front()->arrived > first;
    if (!model->flags.pinned && later && model->state == State::Ready) victims.push_back(model.get());
  }
  std::ranges::sort(victims, [](const Model* a, const Model* b) {
    bool busy_a = !a->run->grants.empty(), busy_b = !b->run->grants.empty();
    return busy_a != busy_b ? busy_b : a->last_used < b->last_used;
  });
  for (auto* victim : victims) {
    if (staying + needed <= limit) break;
    staying -= victim->run->reserved;
    log::info("local: {} makes room for {}", victim->entry.name, asking.entry.name);
    drain(*victim, false);
  }
  return reserved() + needed <= limit; // true only when nothing has to end first
}

void Supervisor::want_running(const ModelPtr& model) {
  if (!engine_problem_.empty())
    return fail_waiting(*model, {FailureKind::Unavailable, Fault::LocalResource, engine_problem_, "engine_missing"});
  auto now = clock_.now();
  if (model->state == State::Failed) {
    if (model->permanent || model->backoff.open(now)) {
      Failure failure{FailureKind::Unavailable, Fault::LocalResource,
                      fmt::format("{} can't run: {}", model->entry.name, model->problem), "model_unavailable"};
      if (!model->permanent)
        failure.retry_after =
            std::chrono::ceil<seconds>(std::max(model->backoff.retry_at() - now, TimePoint::duration{0}));
      model->wanted = false;
      return fail_waiting(*model, failure);
    }
    if (now < model->backoff.retry_at()) return; // wake_later() comes back
  }
  if (model->halvings > 0 && cpu_pressure(limits_.cpu_pressure).value_or(100) < kLowPressure) {
    model->halvings = 0; // the crowd is gone
    find_rates(*model);
  }
  auto needed = model->needed;
  if (needed + unevictable(*model) > budget()) {
    auto failure = does_not_fit(*model, needed);
    model->problem = failure.message;
    model->wanted = false;
    return fail_waiting(*model, failure);
  }
  if (!make_room(*model, needed)) return; // finish() of what drains comes back
  model->run = std::make_shared<Run>(context_);
  model->run->id = ++runs_;
  model->run->plan = plan_for(*model);
  model->run->plan.socket = socket_of(model->run->id);
  model->run->reserved = needed;
  model->run->started = now;
  model->state = State::Starting;
  model->problem.clear();
  model->wanted = false;
  spawn(live(model, model->run));
}

void Supervisor::schedule() {
  if (stopping_) return;
  std::vector<ModelPtr> wanting;
  for (auto& [name, model] : models_) {
    if (model->state == State::Ready) grant_waiting(*model);
    if (!model->run && (model->wanted || !model->waiting.empty())) wanting.push_back(model);
  }
  // In the order of asking, so that models that can't both fit alternate instead of starving one another.
  auto since = [](const ModelPtr& model) {
    return model->waiting.empty() ? TimePoint::max() : model->waiting.front()->arrived;
  };
  std::ranges::sort(wanting, {}, since);
  for (auto& model : wanting) want_running(model);
}
} // namespace intertie::local
