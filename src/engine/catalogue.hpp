// Everything an Ask could run on, as one immutable value: the configured providers' models and the local engine's. Built
// when configuration or a local model's state changes; read by every request. Health is shared by successive catalogues.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/model.hpp"
#include "ledger/prices.hpp"
#include "provider/health.hpp"
#include "provider/open.hpp"
#include "route/decide.hpp"

namespace intertie::engine {

inline constexpr std::string_view kLocal = "local"; // the provider name of supervised children

// A provider that can be sent to, with what we know of its health.
struct Reachable {
  std::shared_ptr<const provider::Remote> remote;
  std::shared_ptr<provider::Health> health;
};
// A model of the local engine and the state it is in.
struct LocalModel {
  ModelFacts facts;
  route::Condition condition;
};

class Catalogue {
 public:
  Catalogue() = default;
  Catalogue(Catalogue&&) = default; // no copies: by_name_ looks into entries_
  Catalogue& operator=(Catalogue&&) = default;
  // `prices` fills in what the configuration does not say.
  Catalogue(std::vector<Reachable> remotes, std::vector<LocalModel> locals,
            std::shared_ptr<const ledger::PriceTable> prices = nullptr);

  struct Entry {
    ModelFacts facts;
    std::uint16_t remote = kNoRemote;                     // index into remotes()
    route::Condition condition = route::Condition::Ready; // of a local model
  };
  static constexpr std::uint16_t kNoRemote = 0xFFFF;

  std::span<const Entry> entries() const { return entries_; }
  const Reachable* remote(const Entry& entry) const {
    return entry.remote == kNoRemote ? nullptr : &remotes_[entry.remote];
  }
  std::span<const std::string> provider_names() const { return provider_names_; }

  // The candidates decide() has to judge: for a named model those that carry the name and everything on the device (where a
  // private Ask may be sent instead), else all. `made_up` receives an entry for "provider/model" that nobody listed.
  std::vector<route::Candidate> candidates(const route::ModelName& wish, TimePoint now,
                                           std::unique_ptr<Entry>& made_up) const;
  std::vector<std::string> names() const; // as clients may say them, for suggestions and /v1/models

 private:
  ModelFacts facts_of(const provider::Provider& provider, const provider::ConfiguredModel& model) const;
  route::Candidate candidate(const Entry& entry, std::uint16_t id, TimePoint now) const;
  std::vector<Reachable> remotes_;
  std::shared_ptr<const ledger::PriceTable> prices_;
  std::vector<Entry> entries_;
  std::vector<std::string> provider_names_;
  std::vector<std::uint16_t> on_device_;
  std::unordered_multimap<std::string_view, std::uint16_t> by_name_; // views into entries_ and by alias
};

} // namespace intertie::engine
