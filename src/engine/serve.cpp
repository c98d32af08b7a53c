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
// A leg of the Plan that was run, and how it ended.
struct Tried {
  const route::Leg* leg;
  std::string_view failure; // Fault's name, empty when it answered
  std::string failure_message;
  std::uint32_t attempts = 1;
  std::string retried_after{};
  bool retries_spent = false;
};
// What one request carries from pass to pass.
struct Passage : Judgement {
  std::uint64_t versions = 0; // of policy and catalogue
  std::uint64_t judged_key = 0;
  guard::Findings findings;
  TimePoint decided{};
  std::vector<Tried> tried;
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
  p.signals.answers_tools = ask.answers_tools;
  p.signals.hints = asked.hints;
  p.signals.deadline = std::chrono::duration_cast<milliseconds>(call.deadline - call.started);
  p.candidates = p.catalogue->candidates(p.signals.wish, call.started, p.made_up);
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

const Catalogue::Entry& entry_of(const Judgement& p, std::uint16_t id) {
  return id < p.catalogue->entries().size() ? p.catalogue->entries()[id] : *p.made_up;
}

// Hashes words one after the other (splitmix64's finaliser between them).
class Key {
 public:
  void mix(std::uint64_t word) {
    hash_ = (hash_ ^ word) * 0xBF58476D1CE4E5B9;
    hash_ ^= hash_ >> 31;
  }
  void mix(std::string_view text) { mix(std::hash<std::string_view>{}(text)); }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0x9E3779B97F4A7C15;
};

// All that the judgement's sentences are made of. 0 when nothing else can be like it.
std::uint64_t judged_key(const Passage& p, std::string_view asked_model) {
  static const std::uint64_t kProcess = make_call_id(SystemClock{}.wall()).value; // versions count from each start
  if (p.made_up) return 0;
  Key key;
  key.mix(kProcess);
  key.mix(p.versions);
  for (const auto& c : p.candidates) key.mix((std::uint64_t{c.id} << 8) | static_cast<std::uint64_t>(c.condition));
  for (const auto& r : p.plan.reasons) {
    key.mix((std::uint64_t{r.candidate} << 8) | static_cast<std::uint64_t>(r.code));
    key.mix(static_cast<std::uint64_t>(r.a));
    key.mix(static_cast<std::uint64_t>(r.b));
  }
  const auto& s = p.signals;
  for (std::uint64_t word :
       {std::uint64_t{s.prompt_tokens}, std::uint64_t{s.max_output_tokens}, std::uint64_t(s.wish.wish),
        std::uint64_t(s.needs) << 1 | std::uint64_t{s.answers_tools}, std::uint64_t(p.plan.data_class),
        std::uint64_t{p.plan.legs.size()}, std::uint64_t(s.hints.max_micro_usd.value_or(-1)),
        std::uint64_t(s.hints.furthest.value_or(Place::Cloud))})
    key.mix(word);
  key.mix(asked_model);
  return key.value();
}

// The same of the whole Story: what came of the judgement, too.
std::uint64_t story_key(const Passage& p, const Ask& ask, const Asked& asked, ledger::Outcome outcome, int status) {
  if (p.judged_key == 0) return 0;
  Key key;
  key.mix(p.judged_key);
  key.mix(asked.endpoint);
  key.mix(asked.caller);
  key.mix((static_cast<std::uint64_t>(outcome) << 32) | (static_cast<std::uint64_t>(status) << 1) |
          static_cast<std::uint64_t>(ask.stream));
  for (const auto& finding : p.findings.list) key.mix(std::uint64_t{finding.detector});
  for (const auto& tried : p.tried) {
    key.mix((std::uint64_t{tried.leg->candidate} << 33) | (std::uint64_t{tried.attempts} << 1) |
            static_cast<std::uint64_t>(tried.retries_spent));
    if (tried.failure.empty() && tried.attempts == 1) continue;
    key.mix(tried.failure);
    key.mix(tried.failure_message);
    key.mix(tried.retried_after);
  }
  return key.value();
}

// What the local engine does about tools that it would not do by itself; empty when nothing.
std::string_view tools_note(const Judgement& p, std::uint16_t candidate) {
  const auto& entry = entry_of(p, candidate);
  if (p.catalogue->remote(entry) != nullptr) return {};
  bool knows_tools = (entry.facts.caps & Cap::Tools) != Cap::None;
  if ((p.signals.needs & Cap::ForcedTools) != Cap::None)
    return knows_tools ? "; a grammar makes sure that it calls a tool"
                       : "; its template knows no tools, so a grammar makes it call one";
  if (route::only_reads_results(p.signals, entry.facts))
    return "; its template knows no tools, so it answers from their results and calls no more";
  return {};
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

// Tells the Story on the ledger's thread, after the request is gone.
struct Told {
  Told(Passage&& passage, const Ask& ask, const Asked& asked, ledger::Outcome outcome, int status)
      : p(static_cast<Judgement&&>(passage)), tried(std::move(passage.tried)) {
    story.endpoint = asked.endpoint;
    story.caller = asked.caller;
    story.asked_model = ask.model.substr(0, 200); // the wish looks into it
    story.stream = ask.stream;
    story.outcome = outcome;
    story.status = status;
    story.data_class = p.plan.data_class;
    story.class_known = p.plan.class_known;
    story.finding_types = name_findings(passage.findings);
  }
  ledger::Story operator()() {
    p.signals.wish = route::parse_model_name(story.asked_model, p.catalogue->provider_names());
    story.policy_digest = p.policy->digest();
    for (auto& one : tried)
      story.legs.push_back({one.leg->model->provider, one.leg->model->name, one.leg->model->place,
                            std::string(route::to_string(one.leg->why)), std::string(one.failure),
                            std::move(one.failure_message), one.attempts, std::move(one.retried_after),
                            one.retries_spent});
    for (const auto& reason : p.plan.reasons) {
      const auto& facts = entry_of(p, reason.candidate).facts;
      bool chosen =
          std::ranges::any_of(p.plan.legs, [&](const route::Leg& leg) { return leg.candidate == reason.candidate; });
      auto sentence = route::render(reason, facts);
      if (chosen) sentence += tools_note(p, reason.candidate);
      story.judged.push_back({facts.provider, facts.name, facts.place, chosen,
                              std::string(route::to_string(reason.code)), std::move(sentence)});
    }
    story.counterfactuals = route::counterfactuals(p.plan, p.signals, *p.policy, p.candidates);
    return std::move(story);
  }
  Judgement p;
  std::vector<Tried> tried; // its legs are in p.plan, whose buffer moved along
  ledger::Story story;
};

std::string render_sentence(const Judgement& p, const route::Leg& leg) {
  for (const auto& reason : p.plan.reasons)
    if (reason.candidate == leg.candidate)
      return route::render(reason, *leg.model).append(tools_note(p, leg.candidate));
  return std::string(route::to_string(leg.why));
}

// Names in it come from configuration and stores; it goes into a header (RFC 9110, 5.5: no control characters).
std::string header_safe(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return text;
}

// The first leg's sentence is most often that of a request just before.
std::shared_ptr<const std::string> reason_sentence(const Passage& p, const route::Leg& leg, Services& services) {
  auto& known = services.sentences[p.judged_key % services.sentences.size()];
  bool first = &leg == p.plan.legs.data();
  if (first && p.judged_key != 0 && p.judged_key == known.key) return known.sentence;
  auto sentence = std::make_shared<const std::string>(header_safe(render_sentence(p, leg)));
  if (first) known = {p.judged_key, sentence};
  return sentence;
}

void keep_health(const Reachable* reachable, const std::optional<Failure>& failure, const Call& call) {
  if (reachable == nullptr || call.cancellation.reason() == CancelReason::ClientGone) return;
  if (failure && facts(failure->fault).hard_down)
    log::error("{}; it is out of use until the configuration changes", failure->message);
  if (failure) reachable->health->failed(*failure, call.clock.now());
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
    auto begun = p.tried.empty() ? p.decided : call.clock.now();
    auto left = std::chrono::duration_cast<milliseconds>(std::max(call.deadline - begun, {}));
    auto budget = std::chrono::duration_cast<milliseconds>(left * double{leg.deadline_share});
    reply.answering(
        {call.id, leg.model->place, leg.model->provider, leg.model->name, reason_sentence(p, leg, services)});
    provider::Target target{reachable ? reachable->remote.get() : nullptr, leg.model->name, leg.model->trust,
                            leg.model->caps, budget};
    auto* health = reachable ? reachable->health.get() : nullptr;
    if (health != nullptr) health->retries.asked();
    auto end = co_await run_leg(call, std::move(*cleared), target, keepalive_after, reply, opener, begun);
    if (end.failure) {
      LegOrder order{ask, p.findings, p.policy->matrix, target, health, keepalive_after, begun};
      end = co_await run_again(call, std::move(end), order, reply, opener);
    }
    if (!end.client_gone) keep_health(reachable, end.failure, call);
    settle_receipt(p.receipt, end, ask, *leg.model);
    if (end.first_token_us > 0 && p.receipt.first_token_us == 0)
      p.receipt.first_token_us = micros_between(call.started, begun) + end.first_token_us;
    p.tried.push_back({&leg, {}, {}, end.attempts, std::move(end.retried_after), end.retries_spent});
    if (end.attempts > 1 || end.retries_spent) services.metrics.retried(!end.failure, end.attempts, end.retries_spent);
    failure = std::move(end.failure);
    bool only = !failure && p.tried.size() == 1; // its times are the request's
    if (!only) p.receipt.leg_times.push_back({end.first_token_us, micros_between(begun, call.clock.now())});
    if (!failure) co_return std::nullopt;
    p.tried.back().failure = end.client_gone ? "client_gone" : facts(failure->fault).name;
    p.tried.back().failure_message = failure->message;
    if (end.client_gone || call.cancellation.cancelled() || reply.committed() || !facts(failure->fault).next_leg) break;
    reply.restart();
  }
  co_return failure;
}

// Where the answer came from, if it did.
std::optional<Place> answered_at(const Passage& p) {
  if (p.tried.empty() || !p.tried.back().failure.empty()) return std::nullopt;
  return p.tried.back().leg->model->place;
}

void post(Passage&& p, const Ask& ask, const Asked& asked, ledger::Outcome outcome, int status, Services& services,
          TimePoint now) {
  constexpr seconds kTellAgain{1};
  auto key = story_key(p, ask, asked, outcome, status);
  auto& told = services.told[key % services.told.size()];
  auto receipt = std::move(p.receipt);
  receipt.story_key = key;
  if (key == 0 || told.key != key || now - told.at >= kTellAgain) {
    told = {key, now};
    receipt.tell = Told(std::move(p), ask, asked, outcome, status);
  }
  services.ledger->post(std::move(receipt));
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
  p.judged_key = judged_key(p, ask.model);
  p.decided = services.clock.now();
  p.receipt.id = call.id;
  p.receipt.decide_us = micros_between(call.started, p.decided);

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

  // On every way out, one Receipt. Its Story is written on the ledger's thread.
  auto now = services.clock.now();
  p.receipt.total_us = micros_between(call.started, now);
  services.metrics.ended();
  services.metrics.count(p.receipt, outcome, answered_at(p));
  if (services.ledger != nullptr)
    post(std::move(p), ask, asked, outcome, failure ? facts(failure->kind).status : 200, services, now);
}

} // namespace intertie::engine
