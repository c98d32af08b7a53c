// The scalar sections: one row per key. The same rows read the file and the environment.
#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "config/parts.hpp"
#include "core/text.hpp"

namespace intertie::config {
namespace {
using Env = const Environment&;
constexpr std::array<std::string_view, 4> kLevels{"debug", "info", "warn", "error"};
constexpr std::array<std::string_view, 3> kPlaces{"device", "edge", "cloud"};
constexpr milliseconds kDay{86'400'000};

bool loopback_address(std::string_view host) {
  return host == "::1" || (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
}
void set_listen(const Value& value, Config& config, Env) {
  auto text = value.string();
  std::string_view host = text, port;
  if (auto colon = text.rfind(':'); colon != std::string::npos) {
    host = std::string_view(text).substr(0, colon);
    port = std::string_view(text).substr(colon + 1);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  std::uint16_t number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || error != std::errc{} || end != port.data() + port.size())
    return value.wrong(R"(must be an address and a port up to 65535, such as "127.0.0.1:4683" or "[::1]:4683")");
  if (!loopback_address(host))
    return value.wrong(
        "must be a loopback address (127.0.0.1 or [::1]): this version serves no other machine, since it has "
        "no tokens and no TLS yet");
  config.server.address = host;
  config.server.port = number;
}
void set_socket(const Value& value, Config& config, Env env) {
  auto path = expand_home(value.string(), env);
  if (path.empty()) return; // the default stays
  if (path == "none") path.clear();
  else if (path.front() != '/') return value.wrong(R"(must be an absolute path, or "none")");
  else if (path.size() > 100) return value.wrong("is too long for a socket: at most 100 bytes");
  config.server.socket = std::move(path);
}
// "" is the default, "never" is negative.
std::optional<seconds> keep_alive(const Value& value) {
  auto text = value.string();
  if (text.empty()) return std::nullopt;
  if (text == "never") return seconds{-1};
  return std::chrono::duration_cast<seconds>(value.duration(milliseconds{0}, kDay * 400));
}
// "" is none.
std::uint64_t limit(const Value& value) {
  bool none = value.node() != nullptr && value.node()->is_string() && value.string().empty();
  return none ? 0 : value.bytes();
}
void set_data_dir(const Value& value, Config& config, Env env) {
  auto path = expand_home(value.string(), env);
  if (path.empty()) return;
  if (path.front() != '/') return value.wrong("must be an absolute path, or begin with ~/");
  config.paths.data_dir = config.local.data_dir = std::move(path);
}

constexpr std::array<Key, 8> kServer{{
    {"listen", set_listen},
    {"socket", set_socket},
    {"io_threads", [](const Value& v, Config& c, Env) { c.server.io_threads = static_cast<int>(v.integer(1, 256)); }},
    {"request_timeout",
     [](const Value& v, Config& c, Env) { c.server.request_timeout = v.duration(milliseconds{1000}, kDay); }},
    {"keepalive_after",
     [](const Value& v, Config& c, Env) { c.server.keepalive_after = v.duration(milliseconds{0}, kDay); }},
    {"max_body",
     [](const Value& v, Config& c, Env) {
       c.server.max_body = v.bytes();
       if (c.server.max_body < 1024 || c.server.max_body > 1'000'000'000) v.wrong(R"(must be from "1 kB" to "1 GB")");
     }},
    {"max_body_time",
     [](const Value& v, Config& c, Env) { c.server.max_body_time = v.duration(milliseconds{100}, kDay); }},
    {"max_connections", [](const Value& v, Config& c,
                           Env) { c.server.max_connections = static_cast<std::size_t>(v.integer(1, 1'000'000)); }},
}};
constexpr std::array<Key, 1> kLog{{
    {"level", [](const Value& v, Config& c, Env) { c.log_level = v.one_of(kLevels); }},
}};
constexpr std::array<Key, 5> kPolicy{{
    {"paid", [](const Value& v, Config& c, Env) { c.policy.paid = v.boolean(); }},
    {"furthest", [](const Value& v, Config& c,
                    Env) { c.policy.furthest = parse_place(v.one_of(kPlaces)).value_or(Place::Device); }},
    {"small_tokens", [](const Value& v, Config& c,
                        Env) { c.policy.small_tokens = static_cast<std::uint32_t>(v.integer(0, 100'000'000)); }},
    {"high_end_quality",
     [](const Value& v, Config& c, Env) { c.policy.high_end_quality = static_cast<int>(v.integer(0, 100)); }},
    {"prefer", [](const Value& v, Config& c, Env) { c.policy.prefer = v.strings(); }},
}};
constexpr std::array<Key, 12> kLocal{{
    {"engine", [](const Value& v, Config& c, Env e) { c.local.engine = expand_home(v.string(), e); }},
    {"data_dir", set_data_dir},
    {"memory_limit", [](const Value& v, Config& c, Env) { c.local.memory_limit = limit(v); }},
    {"disk_limit", [](const Value& v, Config& c, Env) { c.local.disk_limit = limit(v); }},
    {"keep_alive",
     [](const Value& v, Config& c, Env) { c.local.keep_alive = keep_alive(v).value_or(c.local.keep_alive); }},
    {"threads", [](const Value& v, Config& c, Env) { c.local.threads = static_cast<int>(v.integer(0, 1024)); }},
    {"dedicated", [](const Value& v, Config& c, Env) { c.local.dedicated = v.boolean(); }},
    {"queue",
     [](const Value& v, Config& c, Env) { c.local.queue_length = static_cast<std::size_t>(v.integer(0, 100'000)); }},
    {"import_ollama", [](const Value& v, Config& c, Env) { c.local.import_ollama = v.boolean(); }},
    {"import_lmstudio", [](const Value& v, Config& c, Env) { c.local.import_lmstudio = v.boolean(); }},
    {"import_hf", [](const Value& v, Config& c, Env) { c.local.import_hf = v.boolean(); }},
    {"stores",
     [](const Value& v, Config& c, Env e) {
       c.local.store_dirs.clear();
       for (const auto& dir : v.strings()) c.local.store_dirs.push_back(expand_home(dir, e));
     }},
}};
constexpr std::array<Section, 4> kSections{
    {{"server", kServer}, {"log", kLog}, {"policy", kPolicy}, {"local", kLocal}}};

std::string variable_for(std::string_view section, std::string_view key) {
  auto name = fmt::format("INTERTIE_{}_{}", section, key);
  for (char& c : name)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return name;
}
} // namespace

std::span<const Section> sections() { return kSections; }

std::vector<std::string_view> key_names(const Section& section) {
  std::vector<std::string_view> names;
  for (const auto& key : section.keys) names.push_back(key.name);
  if (section.name == "policy") names.push_back("matrix"); // the sub-tables, read by readers of their own
  if (section.name == "local") names.push_back("model");
  return names;
}

void apply_environment(Reader& reader, Config& config, const Environment& environment) {
  std::vector<std::string> known;
  for (const auto& section : kSections)
    for (const auto& key : section.keys) known.push_back(variable_for(section.name, key.name));
  std::vector<std::string_view> names(known.begin(), known.end());
  for (const auto& section : kSections) {
    auto prefix = variable_for(section.name, "");
    auto at = environment.variables.lower_bound(prefix);
    for (; at != environment.variables.end() && at->first.starts_with(prefix); ++at)
      if (std::find(names.begin(), names.end(), at->first) == names.end())
        reader.wrong_variable(at->first, fmt::format("no key has this name: {}", did_you_mean(at->first, names)));
    for (const auto& key : section.keys) {
      auto variable = variable_for(section.name, key.name);
      auto set = environment.variables.find(variable);
      if (set == environment.variables.end()) continue;
      key.set(Value(reader, fmt::format("{}.{}", section.name, key.name), variable, set->second), config, environment);
    }
  }
}

void read_local_models(Reader& reader, const toml::node& node, local::Settings& local) {
  constexpr std::array<std::string_view, 5> kKeys{"context", "slots", "pinned", "keep_alive", "arguments"};
  reader.table(node, "local.model", {}, [&](std::string_view name, const Value& model) {
    local::ModelFlags flags;
    reader.table(*model.node(), model.name(), kKeys, [&](std::string_view key, const Value& value) {
      if (key == "context") flags.context = static_cast<std::uint32_t>(value.integer(0, 100'000'000));
      else if (key == "slots") flags.slots = static_cast<std::uint32_t>(value.integer(0, 256));
      else if (key == "pinned") flags.pinned = value.boolean();
      else if (key == "keep_alive") flags.keep_alive = keep_alive(value);
      else if (key == "arguments") flags.arguments = value.strings();
      else return false;
      return true;
    });
    local.flags.emplace_back(std::string(name), std::move(flags));
    return true;
  });
}

void read_matrix(Reader& reader, const toml::node& node, Matrix& matrix) {
  constexpr std::array<std::string_view, 8> kKeys{"C0", "C1", "C2", "C3", "C4", "C5", "C6", "unknown"};
  constexpr std::array<std::string_view, 3> kActions{"allow", "local-only", "block"};
  reader.table(node, "policy.matrix", kKeys, [&](std::string_view key, const Value& value) {
    if (key == "unknown") {
      matrix.unknown = parse_class(value.one_of(std::span(kKeys).first(7))).value_or(DataClass::C6);
      return true;
    }
    auto data_class = parse_class(key);
    if (!data_class) return false;
    auto words = value.strings();
    if (!reader.ok()) return true;
    if (words.size() != kTrusts) {
      value.wrong("must hold five actions, for T0 T1 T2 T3 T4");
      return true;
    }
    for (std::size_t trust = 0; trust < words.size(); ++trust) {
      auto action = parse_action(words[trust]);
      if (action == Action::Mask || action == Action::Condense || action == Action::Ask)
        value.wrong(
            fmt::format("can't be \"{}\" yet: this version knows \"allow\", \"local-only\" and \"block\"; take "
                        "\"local-only\" until then",
                        words[trust]));
      else if (!action)
        value.wrong(fmt::format("can't hold \"{}\": {}", words[trust], did_you_mean(words[trust], kActions)));
      // What stays on this device is allowed on this device.
      else if (trust == 0 && action == Action::LocalOnly) action = Action::Allow;
      matrix.actions[static_cast<std::size_t>(*data_class)][trust] = action.value_or(Action::Block);
    }
    return true;
  });
}
} // namespace intertie::config
