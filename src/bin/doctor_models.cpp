// Checks of the engine and its models: is there one, does it start, are the files whole, unchanged and small enough.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "bin/doctor.hpp"
#include "bin/models_files.hpp"
#include "bin/models_hash.hpp"
#include "bin/terminal.hpp"
#include "core/text.hpp"
#include "local/arguments.hpp"
#include "local/fit.hpp"
#include "local/sha256.hpp"

namespace intertie::bin {
namespace {

constexpr std::size_t kMostOutput = 1u << 20;
constexpr milliseconds kPatience{10'000};
constexpr std::string_view kGetEngine =
    "`./dev setup` in the source tree builds one, or set [local] engine to the path of llama-server";

// Reads until the end, the limit or the deadline. False at the deadline.
bool read_until(int fd, std::string& out, TimePoint deadline, const Clock& clock) {
  std::array<char, 16384> buffer;
  for (;;) {
    auto left = std::chrono::duration_cast<milliseconds>(deadline - clock.now()).count();
    if (left <= 0) return false;
    pollfd wait{fd, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(left)) <= 0) continue;
    auto got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    out.append(buffer.data(), std::min(static_cast<std::size_t>(got), kMostOutput - std::min(kMostOutput, out.size())));
  }
}

// The child has closed its output; it is about to end, or is made to.
int reap(int pid, TimePoint deadline, const Clock& clock, bool& timed_out) {
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (clock.now() >= deadline) {
      timed_out = true;
      ::kill(-pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      return status;
    }
    ::poll(nullptr, 0, 5);
  }
  return status;
}

std::string shown(std::string_view output) {
  auto line = text::trim(output.substr(0, output.find('\n')));
  std::string out;
  for (char c : line.substr(0, 120)) out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return out;
}

// The flags that we start children with, so that an engine which lacks one is found here and not at the first question.
std::vector<std::string> needed_flags() {
  local::ChildPlan plan{.model_file = "m", .socket = "s", .slot_dir = "d", .cache_dir = "c"};
  std::vector<std::string> flags;
  for (const auto& word : local::child_arguments(plan))
    if (word.size() > 1 && word[0] == '-' && (word[1] < '0' || word[1] > '9')) flags.push_back(word);
  return flags;
}

bool names_flag(std::string_view help, std::string_view flag) {
  for (auto at = help.find(flag); at != std::string_view::npos; at = help.find(flag, at + 1)) {
    bool starts = at == 0 || help[at - 1] == ' ' || help[at - 1] == '\n' || help[at - 1] == ',' || help[at - 1] == '\t';
    auto end = at + flag.size();
    bool ends = end == help.size() || help[end] == ' ' || help[end] == ',' || help[end] == '\n' || help[end] == '\t' ||
                help[end] == '=';
    if (starts && ends) return true;
  }
  return false;
}

std::string names_of(const std::vector<std::string>& names) {
  std::string out;
  constexpr std::size_t kMost = 5;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) out += (i == 0 ? "" : ", ") + names[i];
  return names.size() > kMost ? fmt::format("{} and {} more", out, names.size() - kMost) : out;
}

} // namespace

Result<ProgramEnd> run_program(const std::string& program, const std::vector<std::string>& arguments,
                               milliseconds limit) {
  auto failed = [&](int error) {
    return fail(FailureKind::Unavailable, Fault::LocalResource,
                fmt::format("{} can't be started: {}", program, std::strerror(error)));
  };
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return failed(errno);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP); // a group of its own: the limit ends its children too
  ::posix_spawnattr_setpgroup(&attributes, 0);
  std::vector<char*> words{const_cast<char*>(program.c_str())};
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  // Keys of the environment are nobody's business.
  std::vector<std::string> variables{"LANG=C.UTF-8"};
  for (const char* name : {"PATH", "HOME", "LD_LIBRARY_PATH"})
    if (const char* value = std::getenv(name)) variables.push_back(fmt::format("{}={}", name, value));
  std::vector<char*> environment;
  for (auto& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  pid_t pid = 0;
  int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, words.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return failed(error);
  }
  SystemClock clock;
  ProgramEnd end;
  auto deadline = clock.now() + limit;
  end.timed_out = !read_until(ends[0], end.output, deadline, clock);
  ::close(ends[0]);
  int status = reap(pid, deadline, clock, end.timed_out);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.code = WEXITSTATUS(status);
  return end;
}

Verdict check_engine(const World& world) {
  if (world.settings.engine == "none") return {Level::Ok, "the local engine is switched off (engine = \"none\")"};
  auto engine = local::find_engine(world.settings, world.path_variable);
  if (engine) return {Level::Ok, *engine};
  struct stat facts{};
  const auto& configured = world.settings.engine;
  if (!configured.empty() && ::stat(configured.c_str(), &facts) == 0 && S_ISREG(facts.st_mode))
    return {Level::Fail,
            fmt::format("the engine {} may not be executed (mode {:04o})", configured,
                        static_cast<unsigned>(facts.st_mode & 07777)),
            fmt::format("chmod +x '{}'", configured)};
  return {Level::Fail, engine.error().message, std::string(kGetEngine)};
}

Verdict check_engine_version(const World& world) {
  auto engine = local::find_engine(world.settings, world.path_variable);
  if (!engine) return {Level::Ok, "no engine to ask"};
  auto version = run_program(*engine, {"--version"}, kPatience);
  auto replace = fmt::format("replace it: {}", kGetEngine);
  if (!version) return {Level::Fail, version.error().message, replace};
  if (version->timed_out)
    return {Level::Fail, fmt::format("{} --version doesn't answer within 10 s", *engine), replace};
  if (version->signal == SIGILL)
    return {Level::Fail, fmt::format("{} was built for another processor (illegal instruction)", *engine),
            "build it on this machine: ./dev setup"};
  if (version->signal != 0 || version->code != 0 || version->output.empty())
    return {Level::Fail,
            fmt::format("{} --version fails ({}): {}", *engine,
                        version->signal != 0 ? fmt::format("signal {}", version->signal)
                                             : fmt::format("exit {}", version->code),
                        shown(version->output)),
            replace};
  auto help = run_program(*engine, {"--help"}, kPatience);
  std::vector<std::string> lacking;
  if (help)
    for (const auto& flag : needed_flags())
      if (!names_flag(help->output, flag)) lacking.push_back(flag);
  if (!lacking.empty())
    return {Level::Fail,
            fmt::format("{} is too old, or no llama-server: it doesn't know {}", *engine, names_of(lacking)), replace};
  return {Level::Ok, shown(version->output)};
}

Verdict check_models(const World& world) {
  auto usable = std::ranges::count_if(world.models, [](const auto& entry) { return entry.problem.empty(); });
  if (usable > 0)
    return {Level::Ok, fmt::format("{} on this machine", usable == 1 ? "1 model" : fmt::format("{} models", usable))};
  const auto* config = world.valid();
  bool remote =
      config != nullptr && std::ranges::any_of(config->providers, [](const auto& p) { return !p.models.empty(); });
  constexpr auto fix =
      "add one: intertie models add FILE.gguf, or intertie models pull URL --sha256 HASH, or ./dev setup";
  if (remote || world.settings.engine == "none")
    return {remote ? Level::Warn : Level::Fail, "no model on this machine: only remote ones can answer", fix};
  return {Level::Fail, "no model on this machine: nothing can answer", fix};
}

Verdict check_model_files(const World& world) {
  std::string wrong;
  std::string example;
  for (const auto& entry : world.models) {
    if (entry.problem.empty()) continue;
    wrong += fmt::format("{}{}: {}", wrong.empty() ? "" : "; ", entry.name, entry.problem);
    if (example.empty()) example = entry.name;
  }
  if (wrong.empty())
    return {Level::Ok,
            world.models.empty() ? "no model to look at" : "every header is whole and every tensor within its file"};
  return {Level::Fail, wrong, fmt::format("get it again: intertie models rm {}, then pull or add it anew", example)};
}

namespace {
// Ok with an empty finding: nothing is recorded for that file.
Verdict compare_hash(const local::Entry& entry, const std::string& file) {
  auto recorded = recorded_hash(file);
  auto again = fmt::format("get it again: intertie models rm {}, then pull or add it anew", entry.name);
  if (!recorded)
    return {Level::Warn, recorded.error().message, fmt::format("rm '{}', then add the model anew", hash_file_of(file))};
  if (recorded->empty()) return {};
  std::error_code error;
  ProgressBar bar(fmt::format("hashing {}", entry.name), std::filesystem::file_size(file, error));
  bool visible = on_terminal(STDERR_FILENO);
  auto actual = local::sha256_file(file, [&](std::uint64_t done) {
    if (visible) bar.at(done);
  });
  if (visible) fmt::print(stderr, "\r\x1b[K");
  if (!actual) return {Level::Fail, actual.error().message, again};
  if (*actual == *recorded) return {Level::Ok, "as recorded"};
  return {Level::Fail,
          fmt::format("{} has changed since its hash was recorded (sha256 {}…, recorded {}…)", entry.name,
                      actual->substr(0, 12), recorded->substr(0, 12)),
          again};
}
} // namespace

Verdict check_model_hashes(const World& world) {
  int compared = 0;
  for (const auto& entry : world.models)
    for (const auto& part : model_parts(entry.file)) {
      auto verdict = compare_hash(entry, part);
      if (verdict.level != Level::Ok) return verdict;
      if (!verdict.finding.empty()) ++compared;
    }
  if (compared == 0) return {Level::Ok, "no hash is recorded (models of other programs have none)"};
  return {Level::Ok,
          fmt::format("{} as recorded", compared == 1 ? "1 file is" : fmt::format("{} files are", compared))};
}

Verdict check_model_memory(const World& world) {
  std::uint64_t budget = world.settings.memory_limit;
  if (budget == 0) budget = world.available_memory != 0 ? world.available_memory / 10 * 8 : local::memory_budget(0, 0);
  std::vector<std::string> large;
  std::uint64_t usable = 0;
  for (const auto& entry : world.models) {
    if (!entry.problem.empty()) continue;
    local::ModelFlags flags;
    for (const auto& [name, wish] : world.settings.flags)
      if (name == entry.name) flags = wish;
    auto plan = local::plan_child(world.settings, flags, entry.model, entry.file, world.cores);
    auto needed = local::predict_memory(entry.model, entry.repacked, plan.fit).ceiling();
    if (needed <= budget) ++usable;
    else large.push_back(fmt::format("{} needs {}", entry.name, text::human_bytes(needed)));
  }
  auto limit = text::human_bytes(budget);
  // A daemon's own children hold memory that this can't tell from other programs'.
  if (large.empty()) return {Level::Ok, fmt::format("every model fits the {} that models may use", limit)};
  auto finding = fmt::format("{}, but models may use {}", names_of(large), limit);
  constexpr auto fix =
      "set a smaller context for it ([local.model.\"NAME\"] context = 4096), use a smaller one, or raise [local] "
      "memory_limit";
  return {usable == 0 && !world.daemon_answers ? Level::Fail : Level::Warn, finding, fix};
}

} // namespace intertie::bin
