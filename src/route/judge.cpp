#include "route/judge.hpp"

#include <algorithm>
#include <array>

namespace intertie::route {
namespace {
using Constraint = std::optional<Verdict> (*)(const Question&, const Candidate&);

std::optional<Verdict> reject(ReasonCode code, std::int64_t a = 0, std::int64_t b = 0) {
  return Verdict{0, code, a, b};
}

std::optional<Verdict> is_named(const Question& q, const Candidate& c) {
  if (q.signals.wish.wish != Wish::Named || names(q.signals.wish, *c.model, q.whole_name)) return std::nullopt;
  return reject(ReasonCode::NotNamed);
}
std::optional<Verdict> exists(const Question&, const Candidate& c) {
  return c.condition == Condition::Missing ? reject(ReasonCode::ModelMissing) : std::nullopt;
}
std::optional<Verdict> has_capability(const Question& q, const Candidate& c) {
  if (!c.model->caps_known) return std::nullopt;
  auto lacking = missing(q.signals.needs, c.model->caps);
  if (only_reads_results(q.signals, *c.model)) lacking = missing(lacking, Cap::Tools);
  return lacking == Cap::None ? std::nullopt : reject(ReasonCode::MissingCap, static_cast<std::int64_t>(lacking));
}
std::optional<Verdict> fits_context(const Question& q, const Candidate& c) {
  if (c.model->context == 0 || q.tokens_needed <= c.model->context) return std::nullopt;
  return reject(ReasonCode::ContextTooSmall, q.tokens_needed, c.model->context);
}
std::optional<Verdict> fits_memory(const Question&, const Candidate& c) {
  if (c.condition != Condition::NoFit) return std::nullopt;
  return reject(ReasonCode::DoesNotFitMemory, static_cast<std::int64_t>(c.model->resident_bytes));
}
std::optional<Verdict> is_not_given_up(const Question&, const Candidate& c) {
  return c.condition == Condition::HardDown ? reject(ReasonCode::ProviderHardDown) : std::nullopt;
}
std::optional<Verdict> makes_the_deadline(const Question& q, const Candidate& c) {
  if (q.signals.deadline <= milliseconds{0}) return std::nullopt;
  auto wait = first_token(q, c);
  if (wait <= q.signals.deadline) return std::nullopt;
  return reject(ReasonCode::DeadlineTooShort, wait.count(), q.signals.deadline.count());
}
std::optional<Verdict> has_key(const Question&, const Candidate& c) {
  return c.model->key_missing ? reject(ReasonCode::KeyMissing) : std::nullopt;
}
std::optional<Verdict> within_the_cost_asked(const Question& q, const Candidate& c) {
  const auto& most = q.signals.hints.max_micro_usd;
  if (!most || !c.model->paid) return std::nullopt;
  auto cost = worst_case_cost(q, *c.model);
  return cost < 0 || cost > *most ? reject(ReasonCode::OverMaxCost, cost, *most) : std::nullopt;
}
std::optional<Verdict> within_the_place_asked(const Question& q, const Candidate& c) {
  const auto& furthest = q.signals.hints.furthest;
  if (!furthest || c.model->place <= *furthest) return std::nullopt;
  return reject(ReasonCode::BeyondHintPlace, static_cast<std::int64_t>(*furthest));
}
std::optional<Verdict> is_private(const Question& q, const Candidate& c) {
  if (q.signals.wish.wish != Wish::AutoPrivate) return std::nullopt;
  if (c.model->trust == Trust::T0 && c.model->place == Place::Device) return std::nullopt;
  return reject(ReasonCode::NotPrivateWish, static_cast<std::int64_t>(c.model->trust));
}
std::optional<Verdict> within_the_policy_place(const Question& q, const Candidate& c) {
  if (c.model->place <= q.policy.furthest) return std::nullopt;
  return reject(ReasonCode::BeyondPolicyPlace, static_cast<std::int64_t>(q.policy.furthest));
}
std::optional<Verdict> may_cost(const Question& q, const Candidate& c) {
  return c.model->paid && !q.policy.paid ? reject(ReasonCode::PaidOff) : std::nullopt;
}

// Facts about the world first, then what the request asks, then what the person decided. Who fails late was nearly used,
// so a refusal names the latest stage reached: it is the one thing to change.
constexpr std::array<Constraint, 13> kConstraints{is_named,
                                                  is_private,
                                                  exists,
                                                  has_capability,
                                                  fits_context,
                                                  fits_memory,
                                                  is_not_given_up,
                                                  makes_the_deadline,
                                                  has_key,
                                                  within_the_cost_asked,
                                                  within_the_place_asked,
                                                  within_the_policy_place,
                                                  may_cost};
} // namespace

// Who can be made to call can also be told what came of it; calling more of its own accord it can't.
bool only_reads_results(const Signals& signals, const ModelFacts& model) {
  if (!signals.answers_tools || !model.caps_known) return false;
  bool lacks_tools = (missing(signals.needs, model.caps) & Cap::Tools) != Cap::None;
  return lacks_tools && (model.caps & Cap::ForcedTools) != Cap::None;
}

const std::uint8_t kStages = kConstraints.size();

Question make_question(const Signals& signals, const Policy& policy, std::span<const Candidate> candidates) {
  Question q{signals, policy};
  if (signals.max_output_tokens > 0) q.answer_tokens = signals.max_output_tokens;
  q.tokens_needed =
      signals.prompt_tokens +
      (signals.max_output_tokens == 0 ? kShortestAnswer : std::min(signals.max_output_tokens, kAnswerRoom));
  q.whole_name =
      signals.wish.wish == Wish::Named && !signals.wish.provider.empty() &&
      std::ranges::none_of(candidates, [&](const Candidate& c) { return names(signals.wish, *c.model, false); });
  return q;
}

bool names(const ModelName& wish, const ModelFacts& model, bool whole_name) {
  auto called = [&](std::string_view name) {
    return model.name == name || (!model.alias.empty() && model.alias == name);
  };
  if (wish.provider.empty()) return called(wish.model);
  if (!whole_name) return model.provider == wish.provider && called(wish.model);
  // "mistral/tiny" as another provider's own name for it: provider and model are views into one text, slash between.
  auto size = wish.provider.size() + 1 + wish.model.size();
  std::string_view name = model.name;
  return name.size() == size && name.starts_with(wish.provider) && name[wish.provider.size()] == '/' &&
         name.ends_with(wish.model);
}

std::int64_t worst_case_cost(const Question& q, const ModelFacts& model) {
  if (!model.price.known) return model.paid ? -1 : 0;
  auto cost = (static_cast<__int128>(q.signals.prompt_tokens) * model.price.input +
               static_cast<__int128>(q.answer_tokens) * model.price.output + 999'999) /
              1'000'000;
  return static_cast<std::int64_t>(std::min<__int128>(cost, INT64_MAX));
}

milliseconds first_token(const Question& q, const Candidate& c) {
  double seconds = c.condition == Condition::Cold ? c.model->load_seconds : 0;
  if (c.model->prompt_rate > 0) seconds += q.signals.prompt_tokens / c.model->prompt_rate;
  constexpr double kMost = 1e9;
  return milliseconds{static_cast<std::int64_t>(std::clamp(seconds, 0.0, kMost) * 1000)};
}

Verdict judge(const Question& q, const Candidate& c) {
  for (std::uint8_t stage = 0; stage < kStages; ++stage) {
    if (auto verdict = kConstraints[stage](q, c)) {
      verdict->stage = stage;
      return *verdict;
    }
  }
  return {kStages};
}

std::optional<Reason> judge_class(const Question& q, const Candidate& c, DataClass data_class, bool scanned) {
  auto action = q.policy.matrix.at(data_class, c.model->trust);
  if (action == Action::Allow) return std::nullopt;
  auto a = static_cast<std::int64_t>(data_class), b = static_cast<std::int64_t>(c.model->trust);
  if (!scanned) return Reason{c.id, ReasonCode::NotScanned, a, b};
  // Mask, condense and ask can't be carried out yet: each is made stricter, never looser.
  return Reason{c.id, action == Action::Block ? ReasonCode::PolicyBlock : ReasonCode::PolicyLocalOnly, a, b};
}
} // namespace intertie::route
