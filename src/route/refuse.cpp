#include <algorithm>

#include <fmt/format.h>

#include "core/text.hpp"
#include "route/judge.hpp"

namespace intertie::route {
namespace {
constexpr std::string_view kGetAModel =
    "run `intertie models pull` to get one for this device, or add a [[provider]] to the configuration";

Failure refusal(FailureKind kind, Fault fault, std::string message, std::string code, std::string param = {}) {
  return {kind, fault, std::move(message), std::move(code), std::move(param)};
}
std::string full_name(const ModelFacts& model) { return fmt::format("{}/{}", model.provider, model.name); }

Failure unknown_model(const ModelName& wish, std::span<const Candidate> candidates) {
  std::vector<std::string> known{"auto"};
  for (const auto& c : candidates) {
    known.push_back(wish.provider.empty() ? c.model->name : full_name(*c.model));
    if (!c.model->alias.empty()) known.push_back(c.model->alias);
  }
  auto asked = wish.provider.empty() ? std::string(wish.model) : fmt::format("{}/{}", wish.provider, wish.model);
  std::string shown = asked.substr(0, 128);
  if (!text::valid_utf8(shown)) shown = "(not UTF-8)";
  auto near = text::suggest(asked, known);
  auto message =
      candidates.empty() ? fmt::format("there is no model \"{}\", nor any other: {}", shown, kGetAModel)
      : near.empty()
          ? fmt::format("there is no model \"{}\": GET /v1/models lists what there is, and \"auto\" picks one", shown)
          : fmt::format("there is no model \"{}\": did you mean \"{}\"?", shown, fmt::join(near, "\" or \""));
  return refusal(FailureKind::NotFound, Fault::Client, std::move(message), "model_not_found", "model");
}

bool can_be_made_to_call(const Reason& reason, const ModelFacts& model) {
  return static_cast<Cap>(reason.a) == Cap::Tools && (model.caps & Cap::ForcedTools) != Cap::None;
}

// The refusal for the candidate that came nearest to being used, by the Reason it fell for.
Failure refuse_for(const Reason& reason, const ModelFacts& model) {
  using enum FailureKind;
  auto name = full_name(model);
  auto why = render(reason, model);
  switch (reason.code) {
    case ReasonCode::ModelMissing:
      return refusal(
          NotFound, Fault::LocalResource,
          fmt::format("{} is not here any more: pull it again with `intertie models pull {}`", name, model.name),
          "model_missing", "model");
    case ReasonCode::MissingCap:
      return refusal(
          BadRequest, Fault::Client,
          fmt::format("no model can take this request; the nearest is {}: {}. Name a model that can{}", name, why,
                      can_be_made_to_call(reason, model)
                          ? ", or say which call it must make: tool_choice \"required\" or a named function"
                          : ""),
          "missing_capability", "model");
    case ReasonCode::ContextTooSmall:
      return refusal(
          BadRequest, Fault::ContextTooLong,
          fmt::format("the request needs about {} tokens and the longest context there is for it, {}, holds {}: "
                      "shorten the messages or name a model with a longer context",
                      reason.a, name, reason.b),
          "context_length_exceeded", "messages");
    case ReasonCode::DoesNotFitMemory:
      return refusal(Unavailable, Fault::LocalResource,
                     fmt::format("{} does not fit into this machine's memory now ({}): free some, raise [local] "
                                 "memory_limit or use a smaller model",
                                 name, why),
                     "does_not_fit");
    case ReasonCode::ProviderHardDown:
      return refusal(Unavailable, Fault::Auth,
                     fmt::format("{} was given up: {}. See `intertie providers test {}`", name, why, model.provider),
                     "provider_down");
    case ReasonCode::DeadlineTooShort:
      return refusal(
          Timeout, Fault::OurPolicy,
          fmt::format("the time left is too short for {}: {}. Give it more or ask a faster model", name, why),
          "deadline_too_short");
    case ReasonCode::KeyMissing:
      return refusal(Unauthorized, Fault::Auth,
                     fmt::format("provider {} has no key: set `key = \"env:…\"` for it in the configuration, or the "
                                 "variable that it names",
                                 model.provider),
                     "key_missing");
    case ReasonCode::OverMaxCost:
      return refusal(Denied, Fault::OurPolicy, fmt::format("X-Intertie-Max-Cost rules out {}: {}", name, why),
                     "over_max_cost");
    case ReasonCode::BeyondHintPlace:
      return refusal(Denied, Fault::OurPolicy,
                     fmt::format("X-Intertie-Place allows nothing beyond the {}, where no model can take this request: "
                                 "loosen it, or {}",
                                 to_string(static_cast<Place>(reason.a)), kGetAModel),
                     "beyond_asked_place");
    case ReasonCode::NotPrivateWish:
      return refusal(
          Denied, Fault::OurPolicy,
          fmt::format("auto:private uses this device only, and no model here can take the request: {}", kGetAModel),
          "no_private_model", "model");
    case ReasonCode::BeyondPolicyPlace:
      return refusal(
          Denied, Fault::OurPolicy,
          fmt::format("the policy allows nothing beyond the {}, and {} is in the {}: change [policy] furthest, or {}",
                      to_string(static_cast<Place>(reason.a)), name, to_string(model.place), kGetAModel),
          "beyond_policy_place");
    case ReasonCode::PaidOff:
      return refusal(Denied, Fault::OurPolicy,
                     fmt::format("{} costs money and paid places are off: turn paid places on in the configuration, "
                                 "[policy] paid = true, or {}",
                                 name, kGetAModel),
                     "paid_off");
    case ReasonCode::PolicyLocalOnly:
      return refusal(
          Denied, Fault::OurPolicy,
          fmt::format("{}, and no model nearer can take the request: run `intertie models pull` to get one for "
                      "this device, or leave that data out",
                      why),
          "policy_local_only");
    case ReasonCode::PolicyBlock:
      return refusal(Denied, Fault::OurPolicy,
                     fmt::format("{}: leave that data out{}", why,
                                 model.trust == Trust::T0 ? "" : ", or ask a model on this device (auto:private)"),
                     "policy_block");
    case ReasonCode::NotScanned:
      return refusal(Denied, Fault::OurPolicy, fmt::format("{}: ask a model on this device (auto:private)", why),
                     "not_scanned");
    default: break;
  }
  return refusal(Unavailable, Fault::OurPolicy, fmt::format("no model can take this request: {}", kGetAModel),
                 "no_model");
}
} // namespace

Failure refuse(const Question& q, const Plan& plan, std::span<const Candidate> candidates) {
  if (candidates.empty() && q.signals.wish.wish != Wish::Named)
    return refusal(FailureKind::Unavailable, Fault::LocalResource, fmt::format("no model is available: {}", kGetAModel),
                   "no_model");
  std::size_t nearest = candidates.size();
  int best_stage = -1;
  std::int64_t best_context = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (plan.reasons[i].code == ReasonCode::NotNamed) continue;
    int stage = judge(q, candidates[i]).stage;
    bool longer =
        stage == best_stage && plan.reasons[i].code == ReasonCode::ContextTooSmall && plan.reasons[i].b > best_context;
    if (stage > best_stage || longer) {
      best_stage = stage;
      nearest = i;
      best_context = plan.reasons[i].b;
    }
  }
  if (nearest == candidates.size()) return unknown_model(q.signals.wish, candidates); // only names reject everyone so
  return refuse_for(plan.reasons[nearest], *candidates[nearest].model);
}
} // namespace intertie::route
