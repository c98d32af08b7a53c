// What a person wrote, read once: TOML → Config, validated, immutable. Every mistake is said as `file:line:column: what and
// the fix`, with "did you mean"; nothing is ignored. Environment variables INTERTIE_<SECTION>_<KEY> go over the file. The keys
// and their defaults are the contract with the user: docs/config.md. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "local/engines.hpp"
#include "provider/spec.hpp"
#include "route/policy.hpp"

namespace intertie::config {

// The process environment as a value, so that tests bring their own.
struct Environment {
  std::map<std::string, std::string, std::less<>> variables;
  static Environment of_process();
  std::string get(std::string_view name) const; // empty when not set
};

struct Server {
  std::string address = "127.0.0.1"; // loopback only in this version
  std::uint16_t port = 4683;         // 0 = any free one (tests)
  std::string socket;                // path of the unix socket, empty = none
  int io_threads = 1;
  milliseconds request_timeout{600'000};
  milliseconds keepalive_after{15'000}; // 0 = never
  std::uint64_t max_body = 64'000'000;
  milliseconds max_body_time{300'000};
  std::size_t max_connections = 20'000;
};

struct Paths {
  std::string config_file;
  std::string data_dir;    // models and engines
  std::string state_dir;   // receipts, calibration
  std::string runtime_dir; // sockets, mode 0700
  std::string receipts_file;
  std::string prices_file; // the person's own prices, need not exist
};

struct Config {
  Server server;
  std::string log_level = "info";
  route::Policy policy;
  local::Settings local;
  std::vector<provider::Provider> providers;
  std::vector<std::string> key_references; // beside providers: "env:OPENAI_API_KEY", empty = none
  Paths paths;
};

// Where things are, by XDG, INTERTIE_CONFIG and HOME. Unavailable when there is no HOME to go by.
Result<Paths> find_paths(const Environment& environment);

// Reads `toml`; `file_name` is for messages. Looks up keys (environment, files) but nothing else outside. BadRequest with
// the position and the fix.
Result<Config> parse_config(std::string_view toml, std::string_view file_name, const Environment& environment = {});
// The file that `find_paths` names, or the defaults when there is none (only INTERTIE_CONFIG must exist).
Result<Config> load_config(const Environment& environment = Environment::of_process());

std::string_view default_config_text();        // commented sample for `intertie config init`
std::string show_config(const Config& config); // the effective configuration as TOML; keys as their reference

// "500ms", "3s", "10m", "1h30m"; nullopt otherwise or beyond 10,000 hours.
std::optional<milliseconds> parse_duration(std::string_view text);
std::string render_duration(milliseconds duration); // the shortest form that reads back

} // namespace intertie::config
