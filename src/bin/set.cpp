// intertie set: changes one key of the configuration file, checked before it replaces the old one.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "bin/config_verbs.hpp"
#include "bin/models_known.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "config/edit.hpp"
#include "core/json.hpp"
#include "core/text.hpp"

namespace intertie::bin {
namespace {
namespace fs = std::filesystem;
constexpr std::size_t kLongestFile = 1u << 20;

// Empty text for a file that is not there yet.
Result<std::string> read_config(const std::string& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return std::string{};
  std::ifstream in(file, std::ios::binary);
  std::string text(kLongestFile + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in && !in.eof())
    return fail(FailureKind::Denied, Fault::LocalResource, fmt::format("{} can't be read: check its permissions", file),
                "no_config");
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

std::vector<std::string> model_names(const config::Config& config) {
  std::vector<std::string> names;
  for (const auto& [name, flags] : config.local.flags) names.push_back(name);
  if (!config.local.data_dir.empty())
    for (const auto& model : known_models(config).list) names.push_back(model.name);
  return names;
}

// The variable that goes over the file, when it is set where we run.
std::string overriding(const config::EditKey& key) {
  if (key.path.size() != 2) return {};
  auto name = fmt::format("INTERTIE_{}_{}", key.path[0], key.path[1]);
  for (char& c : name)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return std::getenv(name.c_str()) != nullptr ? name : std::string{}; // NOLINT(concurrency-mt-unsafe)
}

struct Wish {
  std::string key;
  std::optional<std::string> value; // none: take the key out
};
Result<Wish> wish_of(const Options& options) {
  Wish wish{options.key, options.value};
  auto equals = options.key.find('=');
  if (!options.value && equals != std::string::npos)
    wish = {options.key.substr(0, equals), options.key.substr(equals + 1)};
  if (options.unset && wish.value)
    return bad_request("--unset takes a key out and no value: leave one of the two away", "bad_key");
  if (!options.unset && !wish.value)
    return bad_request(fmt::format("what is {0} to be? intertie set {0} VALUE, or intertie set --unset {0}", wish.key),
                       "bad_key");
  return wish;
}

void report(const Options& options, const std::string& file, const config::Edit& edit, const config::EditKey& key) {
  auto variable = overriding(key);
  if (options.json) {
    json::Object o;
    o.add("file", file).add("line", std::int64_t{edit.line}).add("key", edit.key);
    if (edit.before.empty()) o.null("before");
    else o.add("before", edit.before);
    if (edit.after.empty()) o.null("after");
    else o.add("after", edit.after);
    o.add("changed", edit.before != edit.after);
    fmt::print("{}\n", o.str());
  } else if (edit.before == edit.after) {
    fmt::print("{} is {} already ({}:{})\n", edit.key, edit.after, file, edit.line);
  } else if (edit.after.empty()) {
    fmt::print("{} was {} and has its default again ({}:{})\n", edit.key, edit.before, file, edit.line);
  } else {
    fmt::print("{} = {} ({}; {}:{})\n", paint(Colour::Bold, edit.key), edit.after,
               edit.before.empty() ? "was not set" : "was " + edit.before, file, edit.line);
  }
  if (!variable.empty())
    fmt::print(stderr, "{} is set in this environment and goes over the file, wherever it is set\n", variable);
  bool at_start =
      key.path[0] == "server" && (key.path[1] == "listen" || key.path[1] == "socket" || key.path[1] == "io_threads");
  if (at_start && edit.before != edit.after) fmt::print(stderr, "this one holds from the daemon's next start on\n");
}

} // namespace

int set(const Options& options, const config::Config& config) {
  auto wish = wish_of(options);
  if (!wish) {
    (void)complain(wish.error());
    return kUsage;
  }
  const auto& file = config.paths.config_file;
  auto text = read_config(file);
  if (!text) return complain(text.error());
  auto key = config::parse_edit_key(wish->key, model_names(config));
  if (!key) return complain(key.error());
  auto environment = config::Environment::of_process();
  auto edit = config::edit_config(text->empty() && !fs::exists(file) ? config::default_config_text() : *text, file,
                                  *key, wish->value, environment);
  if (!edit) {
    (void)complain(edit.error());
    return edit.error().code == "bad_config" ? kBadConfig : kFailed;
  }
  if (edit->before != edit->after) {
    auto replaced = replace_config(file, *text, edit->text);
    if (!replaced) return complain(replaced.error());
  }
  report(options, file, *edit, *key);
  return kOk;
}

} // namespace intertie::bin
