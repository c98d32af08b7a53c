#include "engine/serve.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/log.hpp"
#include "core/text.hpp"
#include "engine/legs.hpp"
#include "guard/clear.hpp"
#include "guard/scan.hpp"

namespace intertie::engine {
namespace {

constexpr std::size_t kWishes = 5; // "auto" and its variants, which every catalogue knows

// What was judged, and all that its sentences need.
struct Judgement {
  std::shared_ptr<const route::Policy> policy;
  std::shared_ptr<const Catalogue> catalogue;
  std::unique_ptr<Catalogue::Entry> made_up;
  std::vector<route::Candidate> candidates;
  route::Signals signals;
  route::Plan plan;
};
// What one request carries from pass to pass.
struct Passage : Judgement {
  std::uint64_t versions = 0; // of policy and catalogue
  guard::Findings findings;
  ledger::Receipt receipt;
};

std::uint32_t micros_between(TimePoint from, TimePoint to) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<microseconds>(to - from).count());
}

void gather(Passage& p, const Call& call, const Ask& ask, const Asked& asked, const Services& services) {
  p.versions = (std::uint64_t{services.policy.version()} << 32) | services.catalogue.version();
  p.policy = services.policy.get();
  p.catalogue = services.catalogue.get();
  p.signals.wish = route::parse_model_name(ask.model, p.catalogue->provider_names());
  p.signals.prompt_tokens = ask.estimated_prompt_tokens();
  p.signals.max_output_tokens = ask.max_tokens.value_or(0);
  p.signals.needs = ask.needs;
  p.signals.hints = asked.hints;
  p.signals.deadline = call.left();
  p.candidates = p.catalogue->candidates(p.signals.wish, call.clock.now(), p.made_up);
}

// Only some candidates of a named model are judged; whoever mistypes one wants to hear of all.
void suggest(Passage& p, const Ask& ask) {
  auto names = p.catalogue->names();
  auto near = text::suggest(ask.model, names);
  auto& message = p.plan.refusal->message;
  if (names.size() > kWishes && !near.empty())
    message = fmt::format("there is no model \"{}\": did you mean \"{}\"?", ask.model.substr(0, 128),
                          fmt::join(near, "\" or \""));
  else if (names.size() > kWishes)
    message = fmt::format("there is no model \"{}\": GET /v1/models lists what there is, and \"auto\" picks one",
                          ask.model.substr(0, 128));
}

void decide(Passage& p, const Ask& ask) {
  // The scan runs only if decide() asks: where nothing may leave the device, nothing needs scanning for egress.
  auto data_class = [&] {
    p.findings = guard::scan(ask);
    return p.findings.highest(p.policy->matrix.unknown);
  };
  p.plan = route::decide(p.signals, *p.policy, p.candidates, data_class);
  if (p.plan.refusal && p.plan.refusal->code == "model_not_found") suggest(p, ask);
}

ledger::Receipt open_receipt(const Passage& p, const Call& call, const Ask& ask, const Asked& asked,
                             const Clock& clock) {
  ledger::Receipt r;
  r.id = call.id;
  r.at = clock.wall();
  r.endpoint = asked.endpoint;
  r.caller = asked.caller;
  r.asked_model = ask.model.substr(0, 200);
  r.stream = ask.stream;
  r.data_class = p.plan.data_class;
  r.class_known = p.plan.class_known;
  p.policy->digest.copy(r.policy_digest.data(), r.policy_digest.size());
  r.decide_us = micros_between(call.started, clock.now());
  return r;
}

const Catalogue::Entry& entry_of(const Judgement& p, std::uint16_t id) {
  return id < p.catalogue->entries().size() ? p.catalogue->entries()[id] : *p.made_up;
}

// All that explain() reads, hashed (splitmix64's finaliser between the words).
std::uint64_t explain_key(const Passage& p, std::string_view asked_model) {
  std::uint64_t hash = 0x9E3779B97F4A7C15;
  auto mix = [&hash](std::uint64_t word) {
    hash = (hash ^ word) * 0xBF58476D1CE4E5B9;
    hash ^= hash >> 31;
  };
  static const std::uint64_t kProcess = make_call_id(SystemClock{}.wall()).value; // versions count from each start
  mix(kProcess);
  mix(p.versions);
  for (const auto& c : p.candidates) mix((std::uint64_t{c.id} << 8) | static_cast<std::uint64_t>(c.condition));
  for (const auto& r : p.plan.reasons) {
    mix((std::uint64_t{r.candidate} << 8) | static_cast<std::uint64_t>(r.code));
    mix(static_cast<std::uint64_t>(r.a));
    mix(static_cast<std::uint64_t>(r.b));
  }
  const auto& s = p.signals;
  for (std::uint64_t word :
       {std::uint64_t{s.prompt_tokens}, std::uint64_t{s.max_output_tokens}, std::uint64_t(s.wish.wish),
        std::uint64_t(s.needs), std::uint64_t(p.plan.data_class), std::uint64_t{p.plan.legs.size()},
        std::uint64_t(s.hints.max_micro_usd.value_or(-1)), std::uint64_t(s.hints.furthest.value_or(Place::Cloud))})
    mix(word);
  mix(std::hash<std::string_view>{}(asked_model));
  return p.made_up ? 0 : hash;
}

// Explains on the ledger's thread, after the request is gone: what the wish looks into moves along.
struct Explained {
  Explained(Judgement judgement, const std::string& asked_model) : p(std::move(judgement)), asked(asked_model) {
    p.signals.wish = route::parse_model_name(asked, p.catalogue->provider_names());
  }
  ledger::Explanation operator()() const {
    ledger::Explanation out;
    for (const auto& reason : p.plan.reasons) {
      const auto& facts = entry_of(p, reason.candidate).facts;
      bool chosen =
          std::ranges::any_of(p.plan.legs, [&](const route::Leg& leg) { return leg.candidate == reason.candidate; });
      out.judged.push_back({facts.provider, facts.name, facts.place, chosen, std::string(route::to_string(reason.code)),
                            route::render(reason, facts)});
    }
    out.counterfactuals = route::counterfactuals(p.plan, p.signals, *p.policy, p.candidates);
    return out;
  }
  Judgement p;
  std::string asked;
};

// The judgement of this request as the ledger wants it: nothing when it has been told the same a moment ago.
ledger::Explain explain(Passage& p, const Ask& ask, Services& services) {
  constexpr seconds kTellAgain{1};
  auto key = p.receipt.explain_key;
  auto now = services.clock.now();
  if (key != 0 && key == services.judged_key && now - services.explained_at < kTellAgain) return nullptr;
  services.explained_at = now;
  auto explained = std::make_shared<const Explained>(static_cast<Judgement&&>(p), ask.model);
  return std::make_shared<const std::function<ledger::Explanation()>>([explained] { return (*explained)(); });
}

std::vector<std::string> name_findings(const guard::Findings& findings) {
  std::vector<std::pair<std::string_view, int>> counts;
  for (const auto& finding : findings.list) {
    auto name = guard::detectors()[finding.detector].name;
    auto at = std::ranges::find(counts, name, &std::pair<std::string_view, int>::first);
    if (at == counts.end()) counts.emplace_back(name, 1);
    else ++at->second;
  }
  std::vector<std::string> out;
  for (auto [name, count] : counts) out.push_back(std::string(name) + "×" + std::to_string(count));
  return out;
}

std::string render_sentence(const Judgement& p, const route::Leg& leg) {
  for (const auto& reason : p.plan.reasons)
    if (reason.candidate == leg.candidate) return route::render(reason, *leg.model);
  return std::string(route::to_string(leg.why));
}

// Names in it come from configuration and stores; it goes into a header (RFC 9110, 5.5: no control characters).
std::string header_safe(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return text;
}

// The first leg's sentence is most often the last request's.
std::shared_ptr<const std::string> reason_sentence(const Passage& p, const route::Leg& leg, Services& services) {
  bool first = &leg == p.plan.legs.data();
  auto key = p.receipt.explain_key;
  if (first && key != 0 && key == services.sentence_key) return services.sentence;
  auto sentence = std::make_shared<const std::string>(header_safe(render_sentence(p, leg)));
  if (first) {
    services.sentence = sentence;
    services.sentence_key = key;
  }
  return sentence;
}

void keep_health(const Reachable* reachable, const std::optional<Failure>& failure, const Call& call, TimePoint now) {
  if (reachable == nullptr || call.cancellation.reason() == CancelReason::ClientGone) return;
  if (failure && facts(failure->fault).hard_down)
    log::error("{}; it is out of use until the configuration changes", failure->message);
  if (failure) reachable->health->failed(*failure, now);
  else reachable->health->succeeded();
}

void settle_receipt(ledger::Receipt& receipt, const LegEnd& end, const Ask& ask, const ModelFacts& facts) {
  Usage usage = settle(end, ask);
  receipt.usage.prompt_tokens += usage.prompt_tokens;
  receipt.usage.completion_tokens += usage.completion_tokens;
  receipt.usage.cached_tokens += usage.cached_tokens;
  receipt.usage.measured = usage.measured;
  receipt.price_known = facts.price.known;
  receipt.micro_usd += ledger::cost(usage, facts.price);
}

// Each leg in turn until one answers. Every leg is cleared for its own trust; the class can't be outrun by a fallback.
Task<std::optional<Failure>> run_legs(Passage& p, Call& call, const Ask& ask, Reply& reply, provider::Opener& opener,
                                      Services& services, milliseconds keepalive_after) {
  std::optional<Failure> failure;
  for (const auto& leg : p.plan.legs) {
    auto cleared = guard::clear(ask, p.findings, p.policy->matrix, leg.model->trust);
    if (!cleared) {
      failure = std::move(cleared).error();
      continue;
    }
    if (services.ledger == nullptr && leg.model->place != Place::Device) {
      failure = Failure{.kind = FailureKind::Unavailable,
                        .fault = Fault::OurPolicy,
                        .message =
                            "the ledger can't be "
                            "written, so nothing may leave this device; see `intertie doctor`",
                        .code = "no_ledger",
                        .param = {}};
      continue;
    }
    const auto& entry = entry_of(p, leg.candidate);
    const auto* reachable = p.catalogue->remote(entry);
    auto begun = call.clock.now();
    auto budget = std::chrono::duration_cast<milliseconds>(call.left() * double{leg.deadline_share});
    reply.answering(
        {call.id, leg.model->place, leg.model->provider, leg.model->name, reason_sentence(p, leg, services)});
    provider::Target target{reachable ? reachable->remote.get() : nullptr, leg.model->name, leg.model->trust, budget};
    auto* health = reachable ? reachable->health.get() : nullptr;
    if (health != nullptr) health->retries.asked();
    auto end = co_await run_leg(call, std::move(*cleared), target, keepalive_after, reply, opener, begun);
    if (end.failure) {
      LegOrder order{ask, p.findings, p.policy->matrix, target, health, keepalive_after, begun};
      end = co_await run_again(call, std::move(end), order, reply, opener);
    }
    auto now = call.clock.now();
    if (!end.client_gone) keep_health(reachable, end.failure, call, now);
    settle_receipt(p.receipt, end, ask, *leg.model);
    auto& tried = p.receipt.legs.emplace_back();
    tried = {leg.model->provider,
             leg.model->name,
             leg.model->place,
             std::string(route::to_string(leg.why)),
             {},
             {},
             end.first_token_us,
             micros_between(begun, now),
             end.attempts,
             std::move(end.retried_after),
             end.retries_spent};
    if (end.first_token_us > 0 && p.receipt.first_token_us == 0)
      p.receipt.first_token_us = micros_between(call.started, begun) + end.first_token_us;
    failure = std::move(end.failure);
    if (!failure) co_return std::nullopt;
    tried.failure = end.client_gone ? "client_gone" : facts(failure->fault).name;
    tried.failure_message = failure->message;
    if (end.client_gone || call.cancellation.cancelled() || reply.committed() || !facts(failure->fault).next_leg) break;
    reply.restart();
  }
  co_return failure;
}

ledger::Outcome outcome_of(const Call& call, const Reply& reply, const std::optional<Failure>& failure, bool refused) {
  if (!failure) return ledger::Outcome::Answered;
  if (call.cancellation.reason() == CancelReason::ClientGone) return ledger::Outcome::ClientGone;
  if (refused) return ledger::Outcome::Refused;
  return reply.committed() ? ledger::Outcome::BrokenMidStream : ledger::Outcome::Failed;
}

} // namespace

Task<void> serve(Call& call, const Ask& ask, Asked asked, Reply& reply, provider::Opener& opener, Services& services) {
  Passage p;
  services.metrics.started();

  reply.identify(call.id);

  // What is known: the policy and catalogue of this moment, the model's name, sizes, needs, hints.
  gather(p, call, ask, asked, services);
  // Which places may answer, in order, and why. Pure; scans the text only if something could leave the device.
  decide(p, ask);
  p.receipt = open_receipt(p, call, ask, asked, services.clock);
  p.receipt.explain_key = explain_key(p, ask.model);
  p.receipt.finding_types = name_findings(p.findings);

  // Nothing leaves the device above this line.
  std::optional<Failure> failure = p.plan.refusal;
  bool refused = failure.has_value();
  if (asked.hints.route_only && !refused) (void)co_await reply.routed(p.plan, call.id);
  else if (!refused) failure = co_await run_legs(p, call, ask, reply, opener, services, asked.keepalive_after);
  auto outcome = outcome_of(call, reply, failure, refused || (failure && failure->fault == Fault::OurPolicy));

  // The client gets a whole answer or a typed failure in its own dialect, never a silent cut.
  if (!failure) {
    if (asked.hints.route_only) outcome = ledger::Outcome::Answered;
    else if (auto finished = co_await reply.finish(p.receipt.usage); !finished) outcome = ledger::Outcome::ClientGone;
  } else if (outcome != ledger::Outcome::ClientGone) {
    (void)co_await reply.refuse(*failure);
  }

  // On every way out, one Receipt. Sentences are written on the ledger's thread.
  p.receipt.outcome = outcome;
  p.receipt.status = failure ? facts(failure->kind).status : 200;
  p.receipt.total_us = micros_between(call.started, services.clock.now());
  services.metrics.ended();
  services.metrics.count(p.receipt);
  if (services.ledger != nullptr) {
    p.receipt.explain = explain(p, ask, services);
    services.judged_key = p.receipt.explain_key;
    services.ledger->post(std::move(p.receipt));
  }
}

} // namespace intertie::engine
