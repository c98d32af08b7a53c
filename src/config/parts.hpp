// Private to config/: the readers of the file's parts, put together by parse_config(). Each fills its part of the Config
// and reports through the Reader. One thread.
#pragma once

#include "config/config.hpp"
#include "config/reader.hpp"

namespace intertie::config {

// [server] [log] [policy] [local]: their keys are tables of name and setter, which the environment overrides share.
struct Key {
  std::string_view name;
  void (*set)(const Value& value, Config& config, const Environment& environment);
};
struct Section {
  std::string_view name;
  std::span<const Key> keys;
};
std::span<const Section> sections();
std::vector<std::string_view> key_names(const Section& section);
void apply_environment(Reader& reader, Config& config, const Environment& environment);

void read_matrix(Reader& reader, const toml::node& node, Matrix& matrix);               // [policy.matrix]
void read_local_models(Reader& reader, const toml::node& node, local::Settings& local); // [local.model."name"]
void read_providers(Reader& reader, const toml::node& node, Config& config, const Environment& environment);
void read_models(Reader& reader, const toml::node& node, Config& config); // [[model]], after providers

struct LoadedKey {
  Secret secret;
  std::string source; // "environment OPENAI_API_KEY (not set)", for people
};
// "env:NAME", "file:/path" (mode 0600), "credential:NAME". Says what is wrong through `value`; never shows a key.
LoadedKey read_key(const Value& value, std::string_view reference, const Environment& environment);

std::string expand_home(std::string_view path, const Environment& environment); // "~/x"
std::string policy_text(const route::Policy& policy);                           // canonical TOML, for digest and show
std::string digest_of(std::string_view text);                                   // sha256, first 16 hex digits
std::vector<std::string> cap_names(Cap caps);
std::span<const std::pair<std::string_view, Cap>> known_caps();

} // namespace intertie::config
