#include "engine/catalogue.hpp"

#include <algorithm>

namespace intertie::engine {

ModelFacts Catalogue::facts_of(const provider::Provider& provider, const provider::ConfiguredModel& model) const {
  ModelFacts facts;
  facts.provider = provider.name;
  facts.name = model.name;
  facts.alias = model.alias;
  // Labelled by where the bytes go: a "-cloud" model behind a local server is cloud.
  auto standing = provider::standing(provider, model.name);
  facts.place = standing.place;
  facts.trust = standing.trust;
  facts.paid = standing.paid;
  facts.key_missing = provider.auth != provider::Auth::None && provider.key.empty() &&
                      (!provider.spec->key_env.empty() || !provider.key_source.empty());
  facts.caps = model.caps;
  facts.caps_known = model.caps_known;
  facts.context = model.context;
  facts.quality = model.quality;
  const auto* listed = prices_ ? prices_->find(provider.spec->name, model.name) : nullptr;
  if (model.price) facts.price = *model.price;
  else if (facts.paid && listed != nullptr) facts.price = listed->price;
  else facts.price.known = !facts.paid;
  return facts;
}

Catalogue::Catalogue(std::vector<Reachable> remotes, std::vector<LocalModel> locals,
                     std::shared_ptr<const ledger::PriceTable> prices)
    : remotes_(std::move(remotes)), prices_(std::move(prices)) {
  for (auto& local : locals) entries_.push_back({std::move(local.facts), kNoRemote, local.condition});
  provider_names_.emplace_back(kLocal);
  for (std::uint16_t r = 0; r < remotes_.size(); ++r) {
    const auto& provider = remotes_[r].remote->provider();
    provider_names_.push_back(provider.name);
    for (const auto& model : provider.models)
      if (entries_.size() < kNoRemote) entries_.push_back({facts_of(provider, model), r, route::Condition::Ready});
  }
  for (std::uint16_t id = 0; id < entries_.size(); ++id) {
    const auto& entry = entries_[id];
    if (entry.facts.trust == Trust::T0) on_device_.push_back(id);
    by_name_.emplace(entry.facts.name, id);
    if (!entry.facts.alias.empty()) by_name_.emplace(entry.facts.alias, id);
  }
}

route::Candidate Catalogue::candidate(const Entry& entry, std::uint16_t id, TimePoint now) const {
  auto condition = entry.condition;
  if (const auto* reachable = remote(entry)) {
    switch (reachable->health->condition(now)) {
      case provider::Condition::Up: break;
      case provider::Condition::Resting: condition = route::Condition::Down; break;
      case provider::Condition::Out: condition = route::Condition::HardDown; break;
    }
  }
  return {&entry.facts, condition, id};
}

std::vector<route::Candidate> Catalogue::candidates(const route::ModelName& wish, TimePoint now,
                                                    std::unique_ptr<Entry>& made_up) const {
  std::vector<route::Candidate> out;
  if (wish.wish != route::Wish::Named) {
    out.reserve(entries_.size());
    for (std::uint16_t id = 0; id < entries_.size(); ++id) out.push_back(candidate(entries_[id], id, now));
    return out;
  }
  std::vector<std::uint16_t> ids(on_device_);
  auto [first, last] = by_name_.equal_range(wish.model);
  bool listed = false;
  for (auto at = first; at != last; ++at) {
    ids.push_back(at->second);
    listed = listed || entries_[at->second].facts.provider == wish.provider;
  }
  std::ranges::sort(ids);
  ids.erase(std::ranges::unique(ids).begin(), ids.end());
  for (auto id : ids) out.push_back(candidate(entries_[id], id, now));
  // "provider/model" reaches models that the configuration does not list: the provider knows its own names best.
  if (!wish.provider.empty() && wish.provider != kLocal && !listed)
    for (std::uint16_t r = 0; r < remotes_.size(); ++r) {
      const auto& provider = remotes_[r].remote->provider();
      if (provider.name != wish.provider) continue;
      provider::ConfiguredModel model;
      model.name = std::string(wish.model);
      made_up = std::make_unique<Entry>(Entry{facts_of(provider, model), r, route::Condition::Ready});
      out.push_back(candidate(*made_up, static_cast<std::uint16_t>(entries_.size()), now));
    }
  return out;
}

std::vector<std::string> Catalogue::names() const {
  std::vector<std::string> out{"auto", "auto:private", "auto:fast", "auto:cheap", "auto:best"};
  for (const auto& entry : entries_) {
    out.push_back(entry.facts.alias.empty() ? entry.facts.name : entry.facts.alias);
    out.push_back(entry.facts.provider + "/" + entry.facts.name);
  }
  return out;
}

} // namespace intertie::engine
