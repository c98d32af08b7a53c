// intertie config show|path|init: what is in force, where it is read from, and a commented file to start with.
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "bin/config_verbs.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "core/json.hpp"

namespace intertie::bin {
namespace {

bool there(const std::string& file) {
  struct stat facts{};
  return ::stat(file.c_str(), &facts) == 0;
}

} // namespace

int config_show(const Options& options, const config::Config& config) {
  auto toml = config::show_config(config);
  if (options.json) {
    json::Object o;
    o.add("file", config.paths.config_file).add("exists", there(config.paths.config_file)).add("toml", toml);
    fmt::print("{}\n", o.str());
    return kOk;
  }
  fmt::print("{}", toml);
  return kOk;
}

int config_path(const Options& options, const config::Config& config) {
  const auto& paths = config.paths;
  bool exists = there(paths.config_file);
  if (options.json) {
    json::Object o;
    o.add("config_file", paths.config_file).add("exists", exists).add("data_dir", paths.data_dir);
    o.add("state_dir", paths.state_dir).add("runtime_dir", paths.runtime_dir).add("receipts_file", paths.receipts_file);
    fmt::print("{}\n", o.str());
    return kOk;
  }
  fmt::print("{}\n", paths.config_file);
  if (!exists && on_terminal(STDOUT_FILENO))
    fmt::print(stderr,
               "(not there yet, so the defaults are in force; `intertie config init` writes a commented sample)\n");
  return kOk;
}

int config_init(const Options& options, const config::Config& config) {
  auto kept = write_sample(config.paths.config_file, config::default_config_text(),
                           options.force ? Existing::Replace : Existing::Keep);
  if (!kept) return complain(kept.error());
  fmt::print("wrote {}\n", config.paths.config_file);
  if (!kept->empty()) fmt::print("the old file is {}\n", *kept);
  return kOk;
}

} // namespace intertie::bin
