#include "config/config.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "config/parts.hpp"
#include "core/text.hpp"

extern char** environ;

namespace intertie::config {
namespace {
constexpr std::size_t kLongestFile = 1u << 20;
constexpr int kMostDots = 100;

// "a.a.a… = 1" makes a table in a table for each dot, and they are freed by recursion: a bound before that, so that a bad
// file can't exhaust the stack. Dots in strings don't count. 0 = fine, else the line.
int line_with_too_many_dots(std::string_view toml) {
  int dots = 0, line = 1;
  bool in_string = false;
  for (char c : toml) {
    if (c == '"') in_string = !in_string;
    if (c == '.' && !in_string && ++dots > kMostDots) return line;
    if (c != '\n') continue;
    in_string = false;
    dots = 0;
    ++line;
  }
  return 0;
}

void read_root(Reader& reader, const toml::table& root, Config& config, const Environment& environment) {
  constexpr std::array<std::string_view, 6> kTop{"server", "log", "policy", "local", "provider", "model"};
  const toml::node* models = nullptr; // after the providers, wherever it stands
  reader.table(root, "", kTop, [&](std::string_view name, const Value& part) {
    if (name == "provider") {
      read_providers(reader, *part.node(), config, environment);
      return true;
    }
    if (name == "model") {
      models = part.node();
      return true;
    }
    for (const auto& section : sections()) {
      if (section.name != name) continue;
      reader.table(*part.node(), name, key_names(section), [&](std::string_view key, const Value& value) {
        if (name == "policy" && key == "matrix") return read_matrix(reader, *value.node(), config.policy.matrix), true;
        if (name == "local" && key == "model") return read_local_models(reader, *value.node(), config.local), true;
        for (const auto& row : section.keys)
          if (row.name == key) return row.set(value, config, environment), true;
        return false;
      });
      return true;
    }
    return false;
  });
  if (models != nullptr && reader.ok()) read_models(reader, *models, config);
}

// A preference for nobody is a slip of the pen.
void check_preferred(Reader& reader, const toml::table& root, const Config& config) {
  std::vector<std::string_view> known{"local"};
  for (const auto& p : config.providers) known.push_back(p.name);
  for (const auto& name : config.policy.prefer) {
    if (std::ranges::find(known, name) != known.end()) continue;
    auto message = fmt::format("policy.prefer names \"{}\", which is no provider: {}", name, did_you_mean(name, known));
    if (const auto* node = root["policy"]["prefer"].node()) reader.wrong(node->source(), message);
    else reader.wrong_variable("INTERTIE_POLICY_PREFER", message);
  }
}
// Made once, by whoever asks first.
std::function<std::string()> lazy_digest(std::string text) {
  struct Lazy {
    std::string text, digest{};
    std::once_flag made{};
  };
  auto lazy = std::make_shared<Lazy>();
  lazy->text = std::move(text);
  return [lazy] {
    std::call_once(lazy->made, [&] { lazy->digest = digest_of(lazy->text); });
    return lazy->digest;
  };
}
} // namespace

Environment Environment::of_process() {
  Environment out;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    std::string_view entry = *at;
    if (auto equals = entry.find('='); equals != std::string_view::npos)
      out.variables.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return out;
}
std::string Environment::get(std::string_view name) const {
  auto at = variables.find(name);
  return at == variables.end() ? std::string{} : at->second;
}

std::string expand_home(std::string_view path, const Environment& environment) {
  auto home = environment.get("HOME");
  if (home.empty() || !(path == "~" || path.starts_with("~/"))) return std::string(path);
  return home + std::string(path.substr(1));
}

std::string digest_of(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  CHECK(EVP_Digest(text.data(), text.size(), hash.data(), &size, EVP_sha256(), nullptr) == 1 && size == 32);
  std::string hex;
  for (std::size_t i = 0; i < 8; ++i) fmt::format_to(std::back_inserter(hex), "{:02x}", hash[i]);
  return hex;
}

Result<Paths> find_paths(const Environment& environment) {
  auto home = environment.get("HOME");
  auto folder = [&](std::string_view variable, std::string_view below_home) {
    auto set = environment.get(variable); // XDG: a relative path is to be ignored
    return set.starts_with('/') ? set : home.empty() ? std::string{} : fmt::format("{}/{}", home, below_home);
  };
  Paths paths;
  auto config = folder("XDG_CONFIG_HOME", ".config");
  auto data = folder("XDG_DATA_HOME", ".local/share"), state = folder("XDG_STATE_HOME", ".local/state");
  paths.config_file = environment.get("INTERTIE_CONFIG");
  if (paths.config_file.empty() && !config.empty()) paths.config_file = config + "/intertie/intertie.toml";
  if (data.empty() || state.empty() || paths.config_file.empty())
    return fail(
        FailureKind::Unavailable, Fault::Client,
        "HOME is not set, so there is no place for models and receipts: set it, or XDG_CONFIG_HOME, XDG_DATA_HOME and "
        "XDG_STATE_HOME",
        "no_home");
  paths.data_dir = data + "/intertie";
  paths.state_dir = state + "/intertie";
  auto runtime = environment.get("XDG_RUNTIME_DIR");
  paths.runtime_dir = runtime.starts_with('/') ? runtime + "/intertie" : fmt::format("/tmp/intertie-{}", ::getuid());
  paths.receipts_file = paths.state_dir + "/receipts.db";
  paths.prices_file = (config.empty() ? paths.state_dir : config + "/intertie") + "/prices.toml";
  return paths;
}

Result<Config> parse_config(std::string_view text, std::string_view file_name, const Environment& environment) {
  Config config;
  if (auto paths = find_paths(environment)) {
    config.paths = *std::move(paths);
    config.server.socket = config.paths.runtime_dir + "/intertie.sock";
    config.local.data_dir = config.paths.data_dir;
  }
  Reader reader(file_name);
  if (text.size() > kLongestFile)
    return bad_request(fmt::format("{}:1:1: the file is larger than 1 MB: is it the right one?", file_name),
                       "bad_config");
  if (int line = line_with_too_many_dots(text); line != 0)
    return bad_request(fmt::format("{}:{}:1: more than {} dots on one line", file_name, line, kMostDots), "bad_config");
  auto parsed = toml::parse(text, file_name);
  if (!parsed) {
    reader.wrong(parsed.error().source(), fmt::format("this is not TOML: {}", parsed.error().description()));
    return std::unexpected(reader.take());
  }
  read_root(reader, parsed.table(), config, environment);
  if (reader.ok()) apply_environment(reader, config, environment);
  if (reader.ok()) check_preferred(reader, parsed.table(), config);
  if (!reader.ok()) return std::unexpected(reader.take());
  config.local.state_dir = config.paths.state_dir;
  config.local.runtime_dir = config.paths.runtime_dir;
  config.policy.digest = lazy_digest(policy_text(config.policy));
  return config;
}

Result<Config> load_config(const Environment& environment) {
  TRY(auto paths, find_paths(environment));
  std::ifstream file(paths.config_file, std::ios::binary);
  if (!file) {
    if (environment.get("INTERTIE_CONFIG").empty() && errno == ENOENT)
      return parse_config("", paths.config_file, environment);
    return fail(
        FailureKind::NotFound, Fault::Client,
        fmt::format("{}: can't be read: {}. `intertie config init` makes one", paths.config_file, std::strerror(errno)),
        "no_config");
  }
  std::string text(kLongestFile + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return parse_config(text, paths.config_file, environment);
}
} // namespace intertie::config
