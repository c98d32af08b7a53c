#include "route/decide.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "route/judge.hpp"

namespace intertie::route {
namespace {
constexpr std::int64_t kUnknownIsLast = std::numeric_limits<std::int64_t>::max();
constexpr float kShareOfALeg = 0.6F; // of what is left; the rest is for the legs behind it
constexpr std::size_t kLegsPerProvider =
    2; // when there are more candidates than legs: an outage takes one provider whole

struct Ranked {
  std::uint32_t index;              // in candidates
  std::array<std::int64_t, 8> keys; // smaller is better, first difference decides
  bool operator<(const Ranked& other) const { return keys != other.keys ? keys < other.keys : index < other.index; }
};

std::int64_t preference(const Policy& policy, std::string_view provider) {
  auto at = std::ranges::find(policy.prefer, provider);
  return at - policy.prefer.begin();
}
// Until the answer is complete, in ms. Unknown speeds count as typical ones, so that a measured place can beat them.
std::int64_t expected_ms(const Question& q, const Candidate& c) {
  bool near = c.model->place == Place::Device;
  double prompt = c.model->prompt_rate > 0 ? static_cast<double>(first_token(q, c).count())
                                           : static_cast<double>(first_token(q, c).count()) +
                                                 (near ? q.signals.prompt_tokens * 10.0 : 700.0);
  double rate = c.model->output_rate > 0 ? c.model->output_rate : near ? 10.0 : 60.0;
  return static_cast<std::int64_t>(prompt + std::min(q.answer_tokens, kAssumedAnswer) / rate * 1000);
}

Ranked rank(const Question& q, std::uint32_t index, const Candidate& c) {
  const auto& model = *c.model;
  // Last comes what is down, before it what can't call the tools that the request offers.
  std::int64_t down = c.condition == Condition::Down ? 2 : only_reads_results(q.signals, model) ? 1 : 0;
  std::int64_t place = static_cast<std::int64_t>(model.place);
  std::int64_t quality = -model.quality, condition = static_cast<std::int64_t>(c.condition);
  std::int64_t cost = worst_case_cost(q, model), prefer = preference(q.policy, model.provider);
  if (cost < 0) cost = kUnknownIsLast;
  std::int64_t slow = model.output_rate > 0 && model.output_rate < kReadableRate;
  // Rule 4: what costs most is the last choice of its place, unless it was asked for.
  std::int64_t high_end =
      q.policy.high_end_quality > 0 && model.place != Place::Device && model.quality >= q.policy.high_end_quality;
  switch (q.signals.wish.wish) {
    case Wish::Named: return {index, {down, place, condition, prefer, cost}};
    case Wish::AutoBest: return {index, {down, quality, place, condition, prefer, cost}};
    case Wish::AutoFast: return {index, {down, expected_ms(q, c), place, quality, prefer, cost}};
    case Wish::AutoCheap: return {index, {down, cost, place, slow, quality, condition, prefer}};
    case Wish::Auto:
    case Wish::AutoPrivate: break;
  }
  return {index, {down, place, high_end, slow, quality, condition, prefer, cost}};
}

// One run of decide(): the reasons grow in catalogue order, `left` holds what passed everything so far.
class Run {
 public:
  Run(const Signals& signals, const Policy& policy, std::span<const Candidate> candidates)
      : candidates_(candidates), q_(make_question(signals, policy, candidates)) {
    for (std::size_t trust = 0; trust < open_.size(); ++trust)
      open_[trust] = policy.matrix.open(static_cast<Trust>(trust));
  }

  Plan plan(const std::function<DataClass()>& data_class) {
    judge_all();
    ask_the_matrix(data_class);
    if (left_.empty() && wants_a_place_nearer()) reroute_to_the_device();
    skip_what_is_down();
    order();
    make_legs();
    if (plan_.legs.empty()) plan_.refusal = refuse(q_, plan_, candidates_);
    return std::move(plan_);
  }

 private:
  void judge_all() {
    plan_.reasons.reserve(candidates_.size());
    for (std::uint32_t i = 0; i < candidates_.size(); ++i) {
      auto verdict = judge(q_, candidates_[i]);
      plan_.reasons.push_back({candidates_[i].id, verdict.code, verdict.a, verdict.b});
      if (verdict.stage == kStages) left_.push_back({i, {}});
    }
  }

  bool open(const Ranked& r) const { return open_[static_cast<std::size_t>(candidates_[r.index].model->trust)]; }
  bool down(const Ranked& r) const { return candidates_[r.index].condition == Condition::Down; }

  // Looks only when what it finds can change the plan: a place that is down while another needs no look can't be chosen.
  void ask_the_matrix(const std::function<DataClass()>& data_class) {
    bool one_is_sure = std::ranges::any_of(left_, [&](const Ranked& r) { return open(r) && !down(r); });
    auto needs_look = [&](const Ranked& r) { return !open(r) && !(one_is_sure && down(r)); };
    if (std::ranges::none_of(left_, needs_look)) return;
    scanned_ = static_cast<bool>(data_class);
    plan_.data_class = scanned_ ? data_class() : q_.policy.matrix.unknown;
    plan_.class_known = scanned_;
    std::erase_if(left_, [&](const Ranked& r) {
      if (!needs_look(r)) return false;
      auto reason = judge_class(q_, candidates_[r.index], plan_.data_class, scanned_);
      if (!reason) return false;
      plan_.reasons[r.index] = *reason;
      bound_by_class_ = true;
      blocked_ |= reason->code == ReasonCode::PolicyBlock;
      return true;
    });
  }

  // The named model is outside and the data must stay: the device answers instead, and the Reason says so. A class that is
  // blocked there is refused: the person said "block", not "elsewhere".
  bool wants_a_place_nearer() const { return q_.signals.wish.wish == Wish::Named && bound_by_class_ && !blocked_; }
  void reroute_to_the_device() {
    Signals signals = q_.signals;
    signals.wish = {Wish::AutoPrivate, {}, {}};
    auto question = make_question(signals, q_.policy, candidates_);
    for (std::uint32_t i = 0; i < candidates_.size(); ++i) {
      if (plan_.reasons[i].code != ReasonCode::NotNamed) continue;
      if (judge(question, candidates_[i]).stage != kStages) continue;
      if (judge_class(question, candidates_[i], plan_.data_class, scanned_)) continue;
      left_.push_back(rank(question, i, candidates_[i]));
    }
    rerouted_ = true;
  }

  void skip_what_is_down() {
    if (std::ranges::all_of(left_, [&](const Ranked& r) { return down(r); })) return;
    std::erase_if(left_, [&](const Ranked& r) {
      if (!down(r)) return false;
      plan_.reasons[r.index].code = ReasonCode::ProviderDown;
      return true;
    });
  }

  void order() {
    if (!rerouted_)
      for (auto& r : left_) r = rank(q_, r.index, candidates_[r.index]);
    std::ranges::sort(left_, std::less<>{});
  }

  ReasonCode why_first(const Candidate& c) const {
    if (rerouted_) return ReasonCode::Sensitive;
    bool high_end = q_.policy.high_end_quality > 0 && c.model->quality >= q_.policy.high_end_quality;
    switch (q_.signals.wish.wish) {
      case Wish::Named: return ReasonCode::Named;
      case Wish::AutoPrivate: return ReasonCode::OnDevice;
      case Wish::AutoFast: return ReasonCode::Fastest;
      case Wish::AutoCheap: return ReasonCode::Cheapest;
      case Wish::AutoBest: return high_end ? ReasonCode::HighEndAsked : ReasonCode::Best;
      case Wish::Auto: break;
    }
    if (bound_by_class_) return ReasonCode::Sensitive;
    if (c.model->place == Place::Device)
      return q_.signals.prompt_tokens <= q_.policy.small_tokens ? ReasonCode::SmallTask : ReasonCode::NearestThatFits;
    return left_.size() == 1 ? ReasonCode::OnlyOneLeft : ReasonCode::NearestThatFits;
  }

  void make_legs() {
    bool crowded = left_.size() > kMaxLegs;
    plan_.legs.reserve(std::min(left_.size(), kMaxLegs));
    for (std::size_t position = 0; position < left_.size(); ++position) {
      const auto& c = candidates_[left_[position].index];
      auto why = position == 0 ? why_first(c) : ReasonCode::Fallback;
      bool use = plan_.legs.size() < kMaxLegs;
      if (crowded)
        use = use && std::ranges::count_if(plan_.legs, [&](const Leg& leg) {
                       return leg.model->provider == c.model->provider;
                     }) < static_cast<std::ptrdiff_t>(kLegsPerProvider);
      auto number = static_cast<std::int64_t>(use ? plan_.legs.size() + 1 : 0);
      plan_.reasons[left_[position].index] = reason_of(c, why, position, number);
      if (!use) continue;
      auto cost = std::max<std::int64_t>(0, worst_case_cost(q_, *c.model));
      plan_.legs.push_back({c.id, c.model, why, kShareOfALeg, cost, first_token(q_, c)});
    }
    if (!plan_.legs.empty()) plan_.legs.back().deadline_share = 1;
  }

  Reason reason_of(const Candidate& c, ReasonCode why, std::size_t position, std::int64_t number) const {
    switch (why) {
      case ReasonCode::SmallTask: return {c.id, why, q_.signals.prompt_tokens, q_.policy.small_tokens};
      case ReasonCode::Sensitive: return {c.id, why, static_cast<std::int64_t>(plan_.data_class), rerouted_};
      case ReasonCode::Fastest: return {c.id, why, expected_ms(q_, c), 0};
      case ReasonCode::Cheapest: return {c.id, why, worst_case_cost(q_, *c.model), 0};
      case ReasonCode::Best:
      case ReasonCode::HighEndAsked: return {c.id, why, c.model->quality, 0};
      case ReasonCode::Fallback: return {c.id, why, number, static_cast<std::int64_t>(position + 1)};
      default: return {c.id, why, 0, 0};
    }
  }

  std::span<const Candidate> candidates_;
  Question q_;
  std::array<bool, kTrusts> open_{};
  std::vector<Ranked> left_;
  Plan plan_;
  bool scanned_ = false;
  bool bound_by_class_ = false;
  bool blocked_ = false;
  bool rerouted_ = false;
};
} // namespace

Plan decide(const Signals& signals, const Policy& policy, std::span<const Candidate> candidates,
            const std::function<DataClass()>& data_class) {
  return Run(signals, policy, candidates).plan(data_class);
}
} // namespace intertie::route
