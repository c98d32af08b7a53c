#include <algorithm>
#include <array>
#include <utility>

#include "route/decide.hpp"

namespace intertie::route {
namespace {
constexpr std::array<std::pair<std::string_view, Wish>, 5> kWishes{{{"auto", Wish::Auto},
                                                                    {"auto:private", Wish::AutoPrivate},
                                                                    {"auto:fast", Wish::AutoFast},
                                                                    {"auto:cheap", Wish::AutoCheap},
                                                                    {"auto:best", Wish::AutoBest}}};
} // namespace

ModelName parse_model_name(std::string_view name, std::span<const std::string> provider_names) {
  for (auto [text, wish] : kWishes)
    if (name == text) return {wish, {}, {}};
  // A slash splits only behind a provider that exists: "meta-llama/Llama-3" is one bare name.
  if (auto slash = name.find('/'); slash != std::string_view::npos && slash > 0 && slash + 1 < name.size()) {
    auto provider = name.substr(0, slash);
    if (std::ranges::find(provider_names, provider) != provider_names.end())
      return {Wish::Named, provider, name.substr(slash + 1)};
  }
  return {Wish::Named, {}, name};
}
} // namespace intertie::route
