#include <array>

#include <fmt/format.h>

#include "core/text.hpp"
#include "route/decide.hpp"

namespace intertie::route {
namespace {
constexpr std::array<std::string_view, 28> kCodes{"named",
                                                  "on_device",
                                                  "small_task",
                                                  "sensitive",
                                                  "nearest_that_fits",
                                                  "high_end_asked",
                                                  "only_one_left",
                                                  "fastest",
                                                  "cheapest",
                                                  "best",
                                                  "fallback",
                                                  "not_named",
                                                  "policy_local_only",
                                                  "policy_block",
                                                  "paid_off",
                                                  "beyond_policy_place",
                                                  "beyond_hint_place",
                                                  "missing_cap",
                                                  "context_too_small",
                                                  "key_missing",
                                                  "provider_down",
                                                  "provider_hard_down",
                                                  "does_not_fit_memory",
                                                  "model_missing",
                                                  "over_max_cost",
                                                  "deadline_too_short",
                                                  "not_private_wish",
                                                  "not_scanned"};
static_assert(kCodes.size() == static_cast<std::size_t>(ReasonCode::NotScanned) + 1);

std::string caps_in_words(Cap caps) {
  constexpr std::array<std::pair<Cap, std::string_view>, 8> kWords{{{Cap::Tools, "tools"},
                                                                    {Cap::ForcedTools, "required tool calls"},
                                                                    {Cap::Vision, "images"},
                                                                    {Cap::JsonObject, "JSON mode"},
                                                                    {Cap::JsonSchema, "JSON schemas"},
                                                                    {Cap::Logprobs, "log probabilities"},
                                                                    {Cap::Audio, "audio"},
                                                                    {Cap::ManyChoices, "several choices"}}};
  std::vector<std::string_view> words;
  for (auto [cap, word] : kWords)
    if ((caps & cap) != Cap::None) words.push_back(word);
  return fmt::format("{}", fmt::join(words, ", "));
}
std::string in_words(DataClass data_class) {
  return fmt::format("{} ({})", describe(data_class), to_string(data_class));
}
std::string in_seconds(std::int64_t ms) {
  return ms < 1000 ? fmt::format("{} ms", ms) : fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
}
std::string_view place_in_words(Place place) {
  constexpr std::array<std::string_view, 3> kWords{"on this device", "at the edge", "in the cloud"};
  return kWords[static_cast<std::size_t>(place)];
}
} // namespace

std::string_view to_string(ReasonCode code) { return kCodes[static_cast<std::size_t>(code)]; }

std::string render(const Reason& r, const ModelFacts& model) {
  switch (r.code) {
    case ReasonCode::Named: return "it was asked for by name";
    case ReasonCode::OnDevice: return "auto:private stays on this device";
    case ReasonCode::SmallTask:
      return fmt::format("a small task ({} tokens, the limit is {}) stays on this device", r.a, r.b);
    case ReasonCode::Sensitive:
      return fmt::format("the request holds {} data, so {}", in_words(static_cast<DataClass>(r.a)),
                         r.b != 0                       ? "this device answers instead of the model asked for"
                         : model.place == Place::Device ? "it stays on this device"
                                                        : "it goes no further than here");
    case ReasonCode::NearestThatFits:
      return fmt::format("the nearest place that can take it is {}", place_in_words(model.place));
    case ReasonCode::HighEndAsked: return fmt::format("auto:best asked for the high end (quality {})", r.a);
    case ReasonCode::OnlyOneLeft: return "nothing else can take it";
    case ReasonCode::Fastest: return fmt::format("the fastest allowed, about {} for the answer", in_seconds(r.a));
    case ReasonCode::Cheapest:
      return r.a < 0 ? "the only one allowed, though its price is unknown"
                     : fmt::format("the cheapest allowed, at most {}", text::human_dollars(r.a));
    case ReasonCode::Best: return fmt::format("the best allowed (quality {})", r.a);
    case ReasonCode::Fallback:
      return r.a > 0 ? fmt::format("number {} in line if those before it fail", r.a)
                     : fmt::format("could take it too, but {} others come first", r.b - 1);
    case ReasonCode::NotNamed: return "another model was asked for by name";
    case ReasonCode::PolicyLocalOnly:
      return fmt::format("the request holds {} data, which the policy keeps away from {} ({})",
                         in_words(static_cast<DataClass>(r.a)), describe(static_cast<Trust>(r.b)),
                         to_string(static_cast<Trust>(r.b)));
    case ReasonCode::PolicyBlock:
      return fmt::format("the request holds {} data, which the policy blocks for {} ({})",
                         in_words(static_cast<DataClass>(r.a)), describe(static_cast<Trust>(r.b)),
                         to_string(static_cast<Trust>(r.b)));
    case ReasonCode::PaidOff: return "it costs money and paid places are off";
    case ReasonCode::BeyondPolicyPlace:
      return fmt::format("it is {} and the policy allows nothing beyond the {}", place_in_words(model.place),
                         to_string(static_cast<Place>(r.a)));
    case ReasonCode::BeyondHintPlace:
      return fmt::format("it is {} and the request allows nothing beyond the {}", place_in_words(model.place),
                         to_string(static_cast<Place>(r.a)));
    case ReasonCode::MissingCap:
      return fmt::format("it can't do what the request needs: {}", caps_in_words(static_cast<Cap>(r.a)));
    case ReasonCode::ContextTooSmall:
      return fmt::format("its context holds {} tokens and the request needs {}", r.b, r.a);
    case ReasonCode::KeyMissing: return fmt::format("provider {} has no key", model.provider);
    case ReasonCode::ProviderDown: return fmt::format("provider {} does not answer at the moment", model.provider);
    case ReasonCode::ProviderHardDown:
      return fmt::format("provider {} refuses us (key, bill or quota) until something changes", model.provider);
    case ReasonCode::DoesNotFitMemory:
      return r.a > 0 ? fmt::format("it needs {} of memory, more than there is",
                                   text::human_bytes(static_cast<std::uint64_t>(r.a)))
                     : "it needs more memory than there is";
    case ReasonCode::ModelMissing: return "its file is missing";
    case ReasonCode::OverMaxCost:
      return r.a < 0 ? fmt::format("its price is unknown, so {} can't be promised", text::human_dollars(r.b))
                     : fmt::format("it could cost {}, more than the {} allowed", text::human_dollars(r.a),
                                   text::human_dollars(r.b));
    case ReasonCode::DeadlineTooShort:
      return fmt::format("its first word takes about {} and only {} is left", in_seconds(r.a), in_seconds(r.b));
    case ReasonCode::NotPrivateWish: return "auto:private stays on this device";
    case ReasonCode::NotScanned:
      return fmt::format("nobody could look for private data, so the request counts as {}",
                         in_words(static_cast<DataClass>(r.a)));
  }
  return {};
}
} // namespace intertie::route
