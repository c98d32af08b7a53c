// [[provider]] and [[model]]: what a person configured, on top of the registry's rows. A place or a trust may be declared
// further away than the facts, never nearer.
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "config/parts.hpp"
#include "core/text.hpp"

namespace intertie::config {
namespace {
constexpr std::array<std::string_view, 14> kProviderKeys{
    "name",         "kind",        "base_url", "key",   "place",           "trust",
    "paid",         "api_version", "ca_file",  "proxy", "connect_timeout", "first_byte_timeout",
    "idle_timeout", "models"};
constexpr std::array<std::string_view, 9> kModelKeys{
    "name", "provider", "model", "context", "caps", "input_price", "output_price", "cached_input_price", "quality"};
constexpr std::array<std::string_view, 3> kPlaces{"device", "edge", "cloud"};
constexpr std::array<std::string_view, 5> kTrustNames{"T0", "T1", "T2", "T3", "T4"};
constexpr std::string_view kAzureVersion = "2024-10-21";
constexpr std::array<std::pair<std::string_view, Cap>, 7> kCaps{{{"tools", Cap::Tools | Cap::ForcedTools},
                                                                 {"vision", Cap::Vision},
                                                                 {"json_object", Cap::JsonObject},
                                                                 {"json_schema", Cap::JsonSchema},
                                                                 {"logprobs", Cap::Logprobs},
                                                                 {"audio", Cap::Audio},
                                                                 {"many_choices", Cap::ManyChoices}}};

bool loopback(const net::Endpoint& endpoint) {
  if (endpoint.transport == net::Endpoint::Transport::Unix) return true;
  const auto& host = endpoint.host;
  return host == "localhost" || host == "::1" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}
bool good_name(std::string_view name) {
  auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, fits);
}

bool reserved(std::string_view model) { return model == "auto" || model.starts_with("auto:"); }

// One [[provider]] table: the values first, then what follows from them together.
class ProviderTable {
 public:
  ProviderTable(Reader& reader, const toml::node& node, const Environment& environment)
      : reader_(reader), node_(node), environment_(environment) {
    reader_.table(node, "provider", kProviderKeys, [&](std::string_view key, const Value& value) {
      if (std::ranges::find(kProviderKeys, key) == kProviderKeys.end()) return false;
      values_.emplace(std::string(key), value);
      return true;
    });
  }

  void add_to(Config& config) {
    provider::Provider p;
    std::string reference;
    if (reader_.ok()) read_name(p, config);
    if (reader_.ok()) read_kind(p);
    if (reader_.ok()) read_url(p);
    if (reader_.ok()) read_place(p);
    if (reader_.ok()) read_trust(p);
    if (reader_.ok()) reference = read_key_of(p);
    if (reader_.ok()) read_rest(p);
    if (!reader_.ok()) return;
    config.providers.push_back(std::move(p));
    config.key_references.push_back(std::move(reference));
  }

 private:
  const Value* find(std::string_view key) const {
    auto at = values_.find(key);
    return at == values_.end() ? nullptr : &at->second;
  }
  void wrong(std::string_view key, std::string_view what) {
    if (const auto* value = find(key)) value->wrong(what);
    else reader_.wrong(node_.source(), fmt::format("provider.{} {}", key, what));
  }

  void read_name(provider::Provider& p, const Config& config) {
    if (find("name") == nullptr) return wrong("name", "is missing: name = \"openai\"");
    p.name = find("name")->string();
    if (!reader_.ok()) return;
    if (!good_name(p.name)) return wrong("name", "must be letters, digits, dots, dashes and underscores, at most 64");
    if (p.name == "local" || p.name == "auto")
      return wrong("name", fmt::format("can't be \"{}\", which has a meaning", p.name));
    if (std::ranges::any_of(config.providers, [&](const auto& other) { return other.name == p.name; }))
      wrong("name",
            fmt::format("\"{}\" is taken by another [[provider]]: give this one a name of its own and say its kind",
                        p.name));
  }
  void read_kind(provider::Provider& p) {
    const auto* kind = find("kind");
    auto word = kind != nullptr ? kind->string() : p.name;
    p.spec = provider::find_spec(word);
    if (p.spec != nullptr || !reader_.ok()) return;
    std::vector<std::string_view> known;
    for (const auto& spec : provider::specs()) known.push_back(spec.name);
    if (kind != nullptr) return wrong("kind", fmt::format("can't be \"{}\": {}", word, did_you_mean(word, known)));
    std::vector<std::string> all(known.begin(), known.end());
    auto near = text::suggest(word, all, 1);
    wrong(
        "name",
        fmt::format("\"{}\" is no known service{}; for any other server add kind = \"openai-compatible\" and base_url",
                    word, near.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", near[0])));
  }
  void read_url(provider::Provider& p) {
    const auto* value = find("base_url");
    auto url = value != nullptr ? value->string() : std::string{};
    if (url.empty()) url = p.spec->base_url;
    if (url.empty())
      return wrong("base_url", fmt::format("is needed for kind \"{}\": where is that server?", p.spec->name));
    auto parsed = net::parse_url(url);
    if (!parsed) return wrong("base_url", fmt::format("is no address: {}", parsed.error().message));
    p.url = *std::move(parsed);
    auto& endpoint = p.url.endpoint;
    if (const auto* ca = find("ca_file")) endpoint.ca_file = expand_home(ca->string(), environment_);
    std::error_code error;
    if (!endpoint.ca_file.empty() && !std::filesystem::is_regular_file(endpoint.ca_file, error))
      return wrong("ca_file", fmt::format("names {}, which is no file", endpoint.ca_file));
    if (endpoint.transport == net::Endpoint::Transport::Unix) return;
    const auto* proxy = find("proxy");
    auto wish = proxy != nullptr ? proxy->string() : std::string{};
    if (wish == "none") return;
    if (!wish.empty() && !wish.starts_with("http://"))
      return wrong("proxy", "must be \"http://host:port\", or \"none\"");
    bool tls = endpoint.transport == net::Endpoint::Transport::Tls;
    endpoint.proxy = !wish.empty() ? wish : net::proxy_from_environment(tls ? "https" : "http", endpoint.host);
  }
  void read_place(provider::Provider& p) {
    bool near = loopback(p.url.endpoint);
    p.place = p.spec->place == Place::Device && !near ? Place::Edge : p.spec->place;
    const auto* value = find("place");
    if (value == nullptr || value->string().empty()) return;
    auto declared = parse_place(value->one_of(kPlaces));
    if (!reader_.ok() || !declared) return;
    if (*declared == Place::Device && !near)
      return wrong("place", fmt::format("can't be \"device\": {} is not this machine", p.url.endpoint.host));
    bool generic = p.spec->name == "openai-compatible";
    if (p.spec->place == Place::Cloud && !generic && *declared != Place::Cloud)
      return wrong("place", fmt::format("can't be \"{}\": {} is a cloud; for a server of your own use kind = "
                                        "\"openai-compatible\"",
                                        to_string(*declared), p.spec->title));
    p.place = *declared;
  }
  void read_trust(provider::Provider& p) {
    constexpr std::array<Trust, 3> kNearest{Trust::T0, Trust::T1, Trust::T3};
    auto nearest = kNearest[static_cast<std::size_t>(p.place)];
    p.trust = p.place == p.spec->place ? p.spec->trust : p.place == Place::Cloud ? Trust::T4 : nearest;
    const auto* value = find("trust");
    if (value == nullptr || value->string().empty()) return;
    auto declared = parse_trust(value->one_of(kTrustNames));
    if (!reader_.ok() || !declared) return;
    if (p.place == Place::Cloud && *declared == Trust::T2)
      return wrong("trust",
                   "can't be \"T2\" yet: this version can't check an attestation; \"T3\" is a cloud under contract");
    if (*declared < nearest)
      return wrong("trust", fmt::format("can't be \"{}\" for place \"{}\": at best \"{}\" ({})", to_string(*declared),
                                        to_string(p.place), to_string(nearest), describe(nearest)));
    p.trust = *declared;
  }
  // Returns the reference. Without one the registry's variable is looked at; a local server's key is optional.
  std::string read_key_of(provider::Provider& p) {
    const auto* value = find("key");
    auto reference = value != nullptr ? value->string() : std::string{};
    if (reference.empty() && !p.spec->key_env.empty()) reference = fmt::format("env:{}", p.spec->key_env);
    if (!reference.empty() && reader_.ok()) {
      auto loaded =
          read_key(value != nullptr ? *value : Value(reader_, "provider.key", node_), reference, environment_);
      p.key = std::move(loaded.secret);
      p.key_source = std::move(loaded.source);
    }
    p.auth = p.spec->key_env.empty() && reference.empty() ? provider::Auth::None : p.spec->auth;
    return reference;
  }
  void read_rest(provider::Provider& p) {
    p.paid = p.place == Place::Cloud && p.spec->paid;
    if (const auto* value = find("paid")) p.paid = value->boolean();
    if (p.spec->quirks.azure_path) p.api_version = kAzureVersion;
    if (const auto* value = find("api_version"); value != nullptr && !value->string().empty())
      p.api_version = value->string();
    auto timeout = [&](std::string_view key, milliseconds& into) {
      if (const auto* value = find(key)) into = value->duration(milliseconds{10}, milliseconds{86'400'000});
    };
    if (p.place == Place::Device) p.timeouts.connect = milliseconds{200};
    if (p.place == Place::Edge) p.timeouts.connect = milliseconds{1000};
    timeout("connect_timeout", p.timeouts.connect);
    timeout("first_byte_timeout", p.timeouts.first_byte);
    timeout("idle_timeout", p.timeouts.idle);
    if (const auto* value = find("models"))
      for (auto& name : value->strings()) {
        if (name.empty()) return value->wrong("must not hold an empty name");
        if (reserved(name))
          return value->wrong(
              fmt::format("must not hold \"{}\", which has a meaning: give it another name in [[model]]", name));
        provider::ConfiguredModel model;
        model.name = std::move(name);
        p.models.push_back(std::move(model));
      }
  }

  Reader& reader_;
  const toml::node& node_;
  const Environment& environment_;
  std::map<std::string, Value, std::less<>> values_;
};

Cap read_caps(const Value& value) {
  auto caps = Cap::None;
  std::vector<std::string_view> names;
  for (auto [name, cap] : kCaps) names.push_back(name);
  for (const auto& word : value.strings()) {
    auto at = std::ranges::find(names, word);
    if (at == names.end()) value.wrong(fmt::format("can't hold \"{}\": {}", word, did_you_mean(word, names)));
    else caps = caps | kCaps[static_cast<std::size_t>(at - names.begin())].second;
  }
  return caps;
}

struct ModelTable {
  std::string name, provider_name, model;
  provider::ConfiguredModel facts;
  std::optional<double> input, output, cached;
  std::optional<Value> provider_value, model_value;
};

bool read_model_key(std::string_view key, const Value& value, ModelTable& t) {
  constexpr double kMostDollars = 100'000;
  if (key == "name") t.name = value.string();
  else if (key == "provider") t.provider_name = value.string(), t.provider_value.emplace(value);
  else if (key == "model") t.model = value.string(), t.model_value.emplace(value);
  else if (key == "context") t.facts.context = static_cast<std::uint32_t>(value.integer(0, 100'000'000));
  else if (key == "caps") t.facts.caps = read_caps(value), t.facts.caps_known = true;
  else if (key == "input_price") t.input = value.number(0, kMostDollars);
  else if (key == "output_price") t.output = value.number(0, kMostDollars);
  else if (key == "cached_input_price") t.cached = value.number(0, kMostDollars);
  else if (key == "quality") t.facts.quality = static_cast<int>(value.integer(0, 100));
  else return false;
  return true;
}

void add_model(Reader& reader, const toml::node& node, ModelTable t, Config& config) {
  auto wrong = [&](std::string_view message) { reader.wrong(node.source(), message); };
  if (t.name.empty()) t.name = t.model;
  if (t.model.empty()) t.model = t.name;
  if (t.name.empty()) return wrong("[[model]] needs a name: the one that clients use");
  if (t.name == "auto" || t.name.starts_with("auto:"))
    return wrong("model.name can't be \"auto\", which has a meaning");
  if (!t.provider_value) return wrong("[[model]] needs a provider: the name of a [[provider]]");
  std::vector<std::string_view> known;
  for (const auto& p : config.providers) known.push_back(p.name);
  auto provider = std::ranges::find(config.providers, t.provider_name, &provider::Provider::name);
  if (provider == config.providers.end())
    return t.provider_value->wrong(known.empty()
                                       ? fmt::format("names \"{}\", and there is no [[provider]]", t.provider_name)
                                       : fmt::format("names \"{}\", which is no [[provider]]: {}", t.provider_name,
                                                     did_you_mean(t.provider_name, known)));
  if (t.input.has_value() != t.output.has_value())
    return wrong("[[model]] needs both input_price and output_price, in dollars per million tokens, or none");
  if (t.cached && !t.input) return wrong("cached_input_price needs input_price and output_price beside it");
  auto micro = [](double dollars) { return static_cast<std::int64_t>(std::llround(dollars * 1e6)); };
  if (t.input) t.facts.price = Price{micro(*t.input), micro(t.cached.value_or(*t.input)), micro(*t.output), true};
  t.facts.name = t.model;
  if (t.name != t.model) t.facts.alias = t.name;
  for (auto& other : provider->models) {
    bool same_alias = !other.alias.empty() && other.alias == t.facts.alias;
    if (same_alias || (other.name == t.model && other.alias.empty() && other.caps_known))
      return wrong(fmt::format("provider {} has a model \"{}\" already", provider->name, t.name));
    // The provider's `models` list names it too: this table says more about it.
    if (other.name == t.model && other.alias.empty()) {
      other = std::move(t.facts);
      return;
    }
  }
  provider->models.push_back(std::move(t.facts));
}
} // namespace

std::span<const std::pair<std::string_view, Cap>> known_caps() { return kCaps; }

std::vector<std::string> cap_names(Cap caps) {
  std::vector<std::string> names;
  for (auto [name, cap] : kCaps)
    if (missing(cap, caps) == Cap::None) names.emplace_back(name);
  return names;
}

void read_providers(Reader& reader, const toml::node& node, Config& config, const Environment& environment) {
  const auto* list = node.as_array();
  if (list == nullptr || !list->is_homogeneous(toml::node_type::table))
    return reader.wrong(node.source(), "provider is a list of tables: write [[provider]], with two brackets");
  for (const auto& entry : *list) {
    if (!reader.ok()) return;
    ProviderTable(reader, entry, environment).add_to(config);
  }
}

void read_models(Reader& reader, const toml::node& node, Config& config) {
  const auto* list = node.as_array();
  if (list == nullptr || !list->is_homogeneous(toml::node_type::table))
    return reader.wrong(node.source(), "model is a list of tables: write [[model]], with two brackets");
  for (const auto& entry : *list) {
    ModelTable table;
    reader.table(entry, "model", kModelKeys,
                 [&](std::string_view key, const Value& value) { return read_model_key(key, value, table); });
    if (!reader.ok()) return;
    add_model(reader, entry, std::move(table), config);
  }
}
} // namespace intertie::config
