// What `intertie doctor` looks at: a table of checks, each a function from a World to a Verdict, so that a test can
// seed a fault in a folder of its own and call one row. Checks read; they change nothing and send no text of anybody
// anywhere. Not for the daemon: several checks take seconds. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bin/daemon_client.hpp"
#include "config/config.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "local/stores.hpp"

namespace intertie::bin {

enum class Level : std::uint8_t { Ok, Warn, Fail };
std::string_view to_string(Level level); // "ok" "warn" "fail"

struct Verdict {
  Level level = Level::Ok;
  std::string finding; // one line: what is
  std::string fix{};   // one line: what to do; empty when all is well
};

// Everything a check may look at. Tests bring their own; `world_of` makes the real one.
struct World {
  const Result<config::Config>* config = nullptr; // may be a Failure: most checks go on without it
  config::Paths paths{};
  local::Settings settings{};
  config::Server server{};
  std::string path_variable{}; // PATH
  std::string cpuinfo = "/proc/cpuinfo";
  std::string meminfo = "/proc/meminfo";
  std::string proc = "/proc";
  WallTime now{};
  WallTime built{};                   // when this program was compiled
  int cores = 1;                      // that we may run on
  double cpu_quota = 0;               // cores' worth of time the cgroup gives; 0 = no limit
  std::uint64_t available_memory = 0; // 0 = ask the machine
  int own_pid = 0;
  bool daemon_answers = false;
  std::vector<local::Entry> models{};
  std::function<Result<Answer>(const provider::Provider&)> list_models{}; // GET …/models

  const config::Config* valid() const { return config != nullptr && *config ? &**config : nullptr; }
};

struct Check {
  std::string_view id;   // stable, for --json: "engine_version"
  std::string_view what; // "engine starts"
  Verdict (*run)(const World& world);
};
std::span<const Check> checks(); // THE table, doctor_table.cpp

World world_of(const Result<config::Config>& config);

// Rows, by file: doctor_files.cpp
Verdict check_config(const World& world);
Verdict check_permissions(const World& world);
Verdict check_folders(const World& world);
Verdict check_disk(const World& world);
Verdict check_socket(const World& world);
Verdict check_receipts(const World& world);
Verdict check_clock(const World& world);
// doctor_machine.cpp
Verdict check_port(const World& world);
Verdict check_cpu(const World& world);
Verdict check_memory(const World& world);
Verdict check_threads(const World& world);
Verdict check_open_files(const World& world);
// doctor_models.cpp
Verdict check_engine(const World& world);
Verdict check_engine_version(const World& world);
Verdict check_models(const World& world);
Verdict check_model_files(const World& world);
Verdict check_model_hashes(const World& world);
Verdict check_model_memory(const World& world);
// doctor_providers.cpp
Verdict check_keys(const World& world);
Verdict check_key_files(const World& world);
Verdict check_providers(const World& world);
Verdict check_keys_accepted(const World& world);

// Pieces that have tests of their own.
Verdict judge_disk(std::string_view folder, std::uint64_t free, std::uint64_t total);
struct PortOwner {
  int pid = 0; // 0 = a process we may not look into
  std::string program;
};
std::optional<PortOwner> listening_on(const std::string& proc, std::uint16_t port);
struct ProgramEnd {
  bool timed_out = false;
  int signal = 0;
  int code = 0;
  std::string output; // stdout and stderr, at most 1 MB
};
// Runs `program` with a nearly empty environment and waits at most `limit`; then it is killed. Unavailable when it
// can't be started.
Result<ProgramEnd> run_program(const std::string& program, const std::vector<std::string>& arguments,
                               milliseconds limit);

} // namespace intertie::bin
