// decide(Signals, Policy, candidates) → Plan: pure, total, explained. The same input gives the same Plan with the same
// Reasons; every Leg was allowed on its own, so a fallback can't cross a border the first call could not; every rejected
// candidate says why. Budget: 5 µs. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "route/policy.hpp"

namespace intertie::route {

// How a client names what it wants.
enum class Wish : std::uint8_t { Auto, AutoPrivate, AutoFast, AutoCheap, AutoBest, Named };
struct ModelName {
  Wish wish = Wish::Auto;
  std::string_view provider; // of "provider/model"; empty when bare
  std::string_view model;    // without the provider
};
// "auto", "auto:private|fast|cheap|best", "provider/model", bare. `provider_names` decides whether a slash splits.
ModelName parse_model_name(std::string_view name, std::span<const std::string> provider_names);

// What a header of the request may tighten, never loosen.
struct Hints {
  std::optional<Place> furthest;             // X-Intertie-Place: device | edge | cloud
  std::optional<std::int64_t> max_micro_usd; // X-Intertie-Max-Cost, in dollars
  bool route_only = false;                   // X-Intertie-Route-Only: decide and explain, send nothing
};

struct Signals {
  ModelName wish{};
  std::uint32_t prompt_tokens = 0; // estimate or count
  bool prompt_counted = false;
  std::uint32_t max_output_tokens = 0; // asked for; 0 = not said
  Cap needs = Cap::None;
  bool answers_tools = false; // the last message is a tool's result
  Hints hints{};
  milliseconds deadline{0}; // time left
};

enum class Condition : std::uint8_t { Ready, Cold, Busy, Down, HardDown, NoFit, Missing };
struct Candidate {
  const ModelFacts* model; // outlives the Plan (both live in one catalogue Snapshot)
  Condition condition = Condition::Ready;
  std::uint16_t id = 0; // index in the catalogue
};

enum class ReasonCode : std::uint8_t {
  // why chosen
  Named,
  OnDevice,
  SmallTask,
  Sensitive,
  NearestThatFits,
  HighEndAsked,
  OnlyOneLeft,
  Fastest,
  Cheapest,
  Best,
  Fallback,
  // why rejected
  NotNamed,
  PolicyLocalOnly,
  PolicyBlock,
  PaidOff,
  BeyondPolicyPlace,
  BeyondHintPlace,
  MissingCap,
  ContextTooSmall,
  KeyMissing,
  ProviderDown,
  ProviderHardDown,
  DoesNotFitMemory,
  ModelMissing,
  OverMaxCost,
  DeadlineTooShort,
  NotPrivateWish,
  NotScanned,
};
// `a` and `b` are the two numbers of the sentence (tokens asked/offered, class/trust, micro-USD …), see render().
struct Reason {
  std::uint16_t candidate;
  ReasonCode code;
  std::int64_t a = 0;
  std::int64_t b = 0;
};
std::string_view to_string(ReasonCode code); // "named", "policy_local_only" …: stable, for receipts and headers
std::string render(const Reason& reason, const ModelFacts& model); // one plain sentence

// The request lets the model call tools and hands it their results; the model can be made to call but not left to, so it
// can answer from the results and nothing more. Good enough where nobody better is left.
bool only_reads_results(const Signals& signals, const ModelFacts& model);

struct Leg {
  std::uint16_t candidate; // index in the catalogue
  const ModelFacts* model;
  ReasonCode why;
  float deadline_share;                  // of what is left when the leg starts; the last leg has 1
  std::int64_t estimated_micro_usd = 0;  // worst case from prompt and max tokens
  milliseconds estimated_first_token{0}; // 0 = unknown
};

struct Plan {
  std::vector<Leg> legs;          // best first, at most kMaxLegs; empty = refused
  std::vector<Reason> reasons;    // one per candidate judged, in catalogue order
  std::optional<Failure> refusal; // set when legs is empty: typed, says what would change it
  DataClass data_class = DataClass::C0;
  bool class_known = false; // false: nothing needed scanning
};
inline constexpr std::size_t kMaxLegs = 4;

// `data_class` is asked for lazily, at most once, and only when a place outside the device is otherwise allowed.
Plan decide(const Signals& signals, const Policy& policy, std::span<const Candidate> candidates,
            const std::function<DataClass()>& data_class);

// "cloud if paid places are turned on", "device if the prompt were 1,900 tokens shorter": what would change the outcome.
std::vector<std::string> counterfactuals(const Plan& plan, const Signals& signals, const Policy& policy,
                                         std::span<const Candidate> candidates);

} // namespace intertie::route
