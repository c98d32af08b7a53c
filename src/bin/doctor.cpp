// intertie doctor: the table of checks, the real World, and how it is shown.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "bin/doctor.hpp"
#include "bin/providers_probe.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "core/json.hpp"

namespace intertie::bin {
namespace {

// THE table, in the order of a person's questions: is it set up, does it run, can it answer, is it safe.
constexpr std::array kChecks{
    Check{"config", "configuration", check_config},
    Check{"permissions", "permissions", check_permissions},
    Check{"folders", "folders", check_folders},
    Check{"disk", "disk space", check_disk},
    Check{"port", "port", check_port},
    Check{"socket", "unix socket", check_socket},
    Check{"cpu", "processor", check_cpu},
    Check{"memory", "memory", check_memory},
    Check{"threads", "threads", check_threads},
    Check{"open_files", "open files", check_open_files},
    Check{"engine", "engine", check_engine},
    Check{"engine_version", "engine starts", check_engine_version},
    Check{"models", "models", check_models},
    Check{"model_files", "model files", check_model_files},
    Check{"model_hashes", "model hashes", check_model_hashes},
    Check{"model_memory", "models fit", check_model_memory},
    Check{"keys", "keys", check_keys},
    Check{"key_files", "key files", check_key_files},
    Check{"providers", "providers", check_providers},
    Check{"keys_accepted", "keys accepted", check_keys_accepted},
    Check{"receipts", "receipts", check_receipts},
    Check{"clock", "clock", check_clock},
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// __DATE__ is "Nov 21 2026"; reproducible builds set it by SOURCE_DATE_EPOCH.
WallTime build_day() {
  constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::istringstream text(__DATE__);
  std::string month;
  unsigned day = 1;
  int year = 2024;
  text >> month >> day >> year;
  auto at = std::ranges::find(kMonths, month);
  auto number = static_cast<unsigned>(at - kMonths.begin()) + 1;
  return std::chrono::sys_days{std::chrono::year{year} / std::chrono::month{std::min(number, 12U)} /
                               std::chrono::day{day}};
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

// cgroup v2: "cpu.max" holds quota and period, or "max".
double cpu_quota() {
  std::ifstream self("/proc/self/cgroup");
  for (std::string line; std::getline(self, line);) {
    if (!line.starts_with("0::/")) continue;
    std::ifstream limit("/sys/fs/cgroup" + line.substr(3) + "/cpu.max");
    double quota = 0, period = 0;
    if (limit >> quota >> period && period > 0) return quota / period;
  }
  return 0;
}

std::string environment_file(const char* name, std::string_view otherwise) {
  auto named = variable(name);
  return named.empty() ? std::string(otherwise) : named;
}

// The same provider is asked once, whatever number of rows want to know.
std::function<Result<Answer>(const provider::Provider&)> asking_once() {
  auto known = std::make_shared<std::map<std::string, Result<Answer>>>();
  return [known](const provider::Provider& provider) {
    auto at = known->find(provider.name);
    if (at == known->end()) at = known->emplace(provider.name, get_models(provider, fetch, milliseconds{8'000})).first;
    return at->second;
  };
}

struct Seen {
  const Check* check;
  Verdict verdict;
};

void print_row(const Seen& seen) {
  const auto& [check, verdict] = seen;
  Colour colour = verdict.level == Level::Ok     ? Colour::Green
                  : verdict.level == Level::Warn ? Colour::Yellow
                                                 : Colour::Red;
  fmt::print("{} {:<14} {}\n", paint(colour, fmt::format("{:<4}", to_string(verdict.level))), check->what,
             verdict.finding);
  if (!verdict.fix.empty()) fmt::print("                    {} {}\n", paint(Colour::Bold, "→"), verdict.fix);
  std::fflush(stdout);
}

std::string rows_json(const std::vector<Seen>& all, bool ok) {
  json::Array list;
  for (const auto& [check, verdict] : all) {
    json::Object o;
    o.add("id", check->id).add("what", check->what).add("level", to_string(verdict.level));
    o.add("finding", verdict.finding).add("fix", verdict.fix);
    list.raw(o.str());
  }
  return json::Object{}.add("ok", ok).raw("checks", list.str()).str();
}

} // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::Ok: return "ok";
    case Level::Warn: return "warn";
    case Level::Fail: break;
  }
  return "fail";
}

std::span<const Check> checks() { return kChecks; }

World world_of(const Result<config::Config>& config) {
  World world;
  world.config = &config;
  // An invalid file says nothing, but the environment and the defaults still do.
  auto environment = config::Environment::of_process();
  auto defaults = config ? *config : config::parse_config("", "", environment).value_or(config::Config{});
  world.paths = defaults.paths;
  if (auto paths = config::find_paths(environment); paths && world.paths.state_dir.empty()) world.paths = *paths;
  world.settings = defaults.local;
  world.server = defaults.server;
  world.path_variable = variable("PATH");
  world.cpuinfo = environment_file("INTERTIE_CPUINFO", world.cpuinfo);
  world.meminfo = environment_file("INTERTIE_MEMINFO", world.meminfo);
  world.now = SystemClock{}.wall();
  world.built = build_day();
  world.cores = usable_cores();
  world.cpu_quota = cpu_quota();
  world.own_pid = ::getpid();
  if (config) {
    // Whoever has the port may say nothing at all: no longer than this is waited.
    auto hasty = *config;
    hasty.server.request_timeout = milliseconds{3'000};
    auto answer = ask_daemon(hasty, {.path = "/intertie/v1/status"});
    world.daemon_answers =
        answer && answer->status == 200 && answer->body.find("\"local_models\"") != std::string::npos;
  }
  world.models = local::Catalogue{}.scan(local::store_places(world.settings, variable));
  world.list_models = asking_once();
  return world;
}

int doctor(const Options& options, const Result<config::Config>& config) {
  auto world = world_of(config);
  std::vector<Seen> all;
  for (const auto& check : checks()) {
    all.push_back({&check, check.run(world)});
    if (!options.json) print_row(all.back());
  }
  auto count = [&](Level level) {
    return std::ranges::count(all, level, [](const Seen& seen) { return seen.verdict.level; });
  };
  auto failed = count(Level::Fail), warned = count(Level::Warn);
  if (options.json) fmt::print("{}\n", rows_json(all, failed == 0));
  else if (failed == 0 && warned == 0) fmt::print("\n{}\n", paint(Colour::Green, "All is well."));
  else fmt::print("\n{} failed, {} to look at, {} fine.\n", failed, warned, count(Level::Ok));
  return failed == 0 ? kOk : kFailed;
}

} // namespace intertie::bin
