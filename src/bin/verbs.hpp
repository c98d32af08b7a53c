// The verbs of the command line, one function each, by file. Each prints what a person needs and returns an exit code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/result.hpp"

namespace intertie::bin {

// Documented in `intertie --help` and README.
enum Exit : int { kOk = 0, kFailed = 1, kUsage = 2, kBadConfig = 3, kNotRunning = 4, kRefused = 5, kInterrupted = 130 };

// What the command line said; one struct for all verbs, each reads its own part.
struct Options {
  std::string config_file; // --config
  bool json = false;
  // ask
  std::string question, model = "auto", system;
  bool stream = false, why = false;
  std::uint32_t max_tokens = 0;
  // explain, receipts
  std::string id = "last";
  bool follow = false;
  std::size_t limit = 20;
  // models, providers, check, config
  std::string name, file, sha256, shell;
  bool force = false;
  // set
  std::string key;
  std::optional<std::string> value;
  bool unset = false;
  // serve
  std::string listen, engine;
  int io_threads = 0;
};

int serve(const Options& options, config::Config config);
int ask(const Options& options, const config::Config& config);
int explain(const Options& options, const config::Config& config);
int receipts(const Options& options, const config::Config& config);
int status(const Options& options, const config::Config& config);
int models_list(const Options& options, const config::Config& config);
int models_show(const Options& options, const config::Config& config);
int models_add(const Options& options, const config::Config& config);
int models_pull(const Options& options, const config::Config& config);
int models_rm(const Options& options, const config::Config& config);
int providers_list(const Options& options, const config::Config& config);
int providers_test(const Options& options, const config::Config& config);
int check(const Options& options, const config::Config& config);
int config_show(const Options& options, const config::Config& config);
int config_path(const Options& options, const config::Config& config);
int config_init(const Options& options, const config::Config& config);
int set(const Options& options, const config::Config& config);
int doctor(const Options& options, const Result<config::Config>& config);
int completion(const Options& options);

// The configuration in force: the command line over the environment over the file.
Result<config::Config> load(const Options& options);

// Prints a Failure on stderr ("intertie: …") and gives the exit code that goes with it.
int complain(const Failure& failure);

} // namespace intertie::bin
