// Providers as data. A ProviderSpec is a row of the registry (what a kind of server is like); a Provider is one that a
// person configured (or the supervised local engine). No behaviour here beyond look-ups. Immutable, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "net/client.hpp"

namespace intertie::provider {

enum class Auth : std::uint8_t { None, Bearer, ApiKeyHeader }; // Authorization: Bearer … or api-key: …

// What a server does differently from OpenAI's API; applied to the request before it is sent.
struct Quirks {
  std::string_view strip{};  // comma-separated top-level fields it refuses and that lose nothing: "logit_bias,name"
  std::string_view refuse{}; // fields it refuses and that matter: the leg is rejected with the field's name
  bool no_stream_options = false;   // refuses stream_options: usage of streams is estimated
  bool old_max_tokens = false;      // knows max_tokens only: max_completion_tokens is renamed
  bool azure_path = false;          // /openai/deployments/{model}/chat/completions?api-version=…
  bool context_from_models = false; // /v1/models tells the context length
};

struct ProviderSpec {
  std::string_view name;     // "openai"; what [[provider]] name or kind says
  std::string_view title;    // "OpenAI"
  std::string_view base_url; // with /v1 where it has one; empty = must be configured
  Auth auth;
  std::string_view key_env; // where its key is looked for by default; empty = wants none
  Place place;
  Trust trust;
  bool paid;
  Quirks quirks;
  std::string_view trusts; // one sentence: whom you trust with what when you use it, with its date
};
std::span<const ProviderSpec> specs(); // THE registry, providers.cpp
const ProviderSpec* find_spec(std::string_view name);

struct ConfiguredModel {
  std::string name;  // the provider's own name
  std::string alias; // the name clients use; empty = name
  std::uint32_t context = 0;
  Cap caps = Cap::None;
  bool caps_known = false;
  std::optional<Price> price;
  int quality = 0;
};

struct Provider {
  std::string name; // unique among the configured
  const ProviderSpec* spec = nullptr;
  net::Url url;
  Secret key;
  std::string key_source; // "environment OPENAI_API_KEY", "file …": said in doctor, never the key
  Place place = Place::Device;
  Trust trust = Trust::T0;
  bool paid = false;
  Auth auth = Auth::None;
  std::string api_version; // Azure
  net::Timeouts timeouts;
  std::vector<ConfiguredModel> models;
};

// Where a model of a provider really runs. A server on this device may pass some on to its maker's cloud (Ollama's names
// with -cloud or :cloud); those count as any cloud that costs money, whatever the provider was declared to be.
struct Standing {
  Place place;
  Trust trust;
  bool paid;
};
Standing standing(const Provider& provider, std::string_view model);

} // namespace intertie::provider
