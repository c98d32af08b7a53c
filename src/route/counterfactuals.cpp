// What would change the outcome. Nothing is guessed: for each kind of rejection the one thing is changed, decide() runs
// again, and a sentence is made only when the model then gets a leg it did not have. Runs on the ledger's writer.
#include <algorithm>

#include <fmt/format.h>

#include "core/text.hpp"
#include "route/decide.hpp"

namespace intertie::route {
namespace {
struct Change {
  Signals signals;
  Policy policy;
  ModelFacts model; // of the rejected candidate
  Condition condition;
  std::string when; // "if paid places were turned on"
};

// Makes the one change that lifts `reason`, or says that nothing sensible would.
bool lift(const Reason& r, Change& change) {
  auto& [signals, policy, model, condition, when] = change;
  switch (r.code) {
    case ReasonCode::PaidOff:
      policy.paid = true;
      when = "if paid places were turned on ([policy] paid = true)";
      return true;
    case ReasonCode::BeyondPolicyPlace:
      policy.furthest = model.place;
      when = fmt::format("if the policy reached to the {} ([policy] furthest)", to_string(model.place));
      return true;
    case ReasonCode::BeyondHintPlace:
      signals.hints.furthest.reset();
      when = "if X-Intertie-Place allowed it";
      return true;
    case ReasonCode::OverMaxCost:
      signals.hints.max_micro_usd.reset();
      when = r.a < 0 ? "if its price were known or X-Intertie-Max-Cost absent"
                     : fmt::format("if X-Intertie-Max-Cost were {} higher", text::human_dollars(r.a - r.b));
      return true;
    case ReasonCode::ContextTooSmall: {
      auto excess = static_cast<std::uint32_t>(std::max<std::int64_t>(0, r.a - r.b));
      if (excess > signals.prompt_tokens) return false;
      signals.prompt_tokens -= excess;
      when = fmt::format("if the prompt were {} tokens shorter", excess);
      return true;
    }
    case ReasonCode::MissingCap:
      model.caps = model.caps | static_cast<Cap>(r.a);
      when = fmt::format("if {}", render(r, model));
      if (auto at = when.find("can't do"); at != std::string::npos) when.replace(at, 8, "could do");
      return true;
    case ReasonCode::KeyMissing:
      model.key_missing = false;
      when = fmt::format("if provider {} had a key", model.provider);
      return true;
    case ReasonCode::ProviderDown:
    case ReasonCode::ProviderHardDown:
      condition = Condition::Ready;
      when = fmt::format("if provider {} answered again", model.provider);
      return true;
    case ReasonCode::DoesNotFitMemory:
      condition = Condition::Cold;
      when = r.a > 0 ? fmt::format("if it had {} of memory", text::human_bytes(static_cast<std::uint64_t>(r.a)))
                     : "if there were memory for it";
      return true;
    case ReasonCode::DeadlineTooShort:
      signals.deadline = milliseconds{0};
      when = fmt::format("if there were {:.1f} s more", static_cast<double>(r.a - r.b) / 1000);
      return true;
    default: return false; // names, wishes and missing files are not circumstances
  }
}

std::string in_words(DataClass data_class) {
  return fmt::format("{} ({})", describe(data_class), to_string(data_class));
}

bool better_known(const ModelFacts& a, const ModelFacts& b) {
  return a.place != b.place ? a.place < b.place : a.quality > b.quality;
}

std::string outcome(const Plan& before, const Plan& after, const ModelFacts& model, std::uint16_t id) {
  auto has = [&](const Plan& plan) {
    return std::ranges::any_of(plan.legs, [&](const Leg& leg) { return leg.candidate == id; });
  };
  if (has(before) || !has(after)) return {};
  bool first = after.legs.front().candidate == id;
  return fmt::format("{}/{} ({}){}", model.provider, model.name, to_string(model.place), first ? "" : " as a fallback");
}
} // namespace

std::vector<std::string> counterfactuals(const Plan& plan, const Signals& signals, const Policy& policy,
                                         std::span<const Candidate> candidates) {
  constexpr std::size_t kMost = 8;
  // One candidate speaks for each kind of rejection: the nearest, then the best.
  std::vector<std::size_t> speakers;
  for (std::size_t i = 0; i < candidates.size() && i < plan.reasons.size(); ++i) {
    auto same =
        std::ranges::find_if(speakers, [&](std::size_t s) { return plan.reasons[s].code == plan.reasons[i].code; });
    if (same == speakers.end()) speakers.push_back(i);
    else if (better_known(*candidates[i].model, *candidates[*same].model)) *same = i;
  }
  std::vector<std::string> sentences;
  for (std::size_t i : speakers) {
    if (sentences.size() == kMost) break;
    const auto& reason = plan.reasons[i];
    bool by_class = reason.code == ReasonCode::PolicyLocalOnly || reason.code == ReasonCode::PolicyBlock;
    Change change{signals, policy, *candidates[i].model, candidates[i].condition, {}};
    auto data_class = plan.class_known ? plan.data_class : DataClass::C0;
    if (by_class) {
      change.when = fmt::format("if the request held no {} data", in_words(plan.data_class));
      data_class = DataClass::C0;
    } else if (!lift(reason, change)) {
      continue;
    }
    std::vector<Candidate> changed(candidates.begin(), candidates.end());
    changed[i].model = &change.model;
    changed[i].condition = change.condition;
    bool supposed = false; // the class is not known: the sentence says on what it rests
    auto after = decide(change.signals, change.policy, changed, [&] {
      supposed = !plan.class_known;
      return data_class;
    });
    auto what = outcome(plan, after, *candidates[i].model, candidates[i].id);
    if (what.empty()) continue;
    sentences.push_back(
        fmt::format("{} {}{}", what, change.when, supposed ? ", provided that it holds nothing private" : ""));
  }
  return sentences;
}
} // namespace intertie::route
