// Checks of the machine: who has the port, what the processor can do, how much memory and how many cores there are.
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "bin/doctor.hpp"
#include "core/text.hpp"
#include "local/fit.hpp"

namespace intertie::bin {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMegabyte = 1'000'000;

template <class T>
std::optional<T> number(std::string_view text, int base = 10) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The inode of the socket that listens on `port`, from one of /proc/net/tcp and tcp6:
//   sl  local_address rem_address   st tx_queue:rx_queue tr:when retrnsmt   uid  timeout inode
std::optional<std::uint64_t> listening_inode(const std::string& file, std::uint16_t port) {
  constexpr std::string_view kListen = "0A";
  std::ifstream table(file);
  std::string line;
  std::getline(table, line);
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    if (!(fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode))
      continue;
    auto colon = local.rfind(':');
    if (state != kListen || colon == std::string::npos) continue;
    if (number<std::uint16_t>(std::string_view(local).substr(colon + 1), 16) == port)
      if (auto found = number<std::uint64_t>(inode)) return found;
  }
  return std::nullopt;
}

bool holds(const fs::path& process, const std::string& socket) {
  std::error_code error;
  fs::directory_iterator at(process / "fd", fs::directory_options::skip_permission_denied, error), end;
  for (; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (fs::read_symlink(at->path(), ignored) == socket) return true;
  }
  return false;
}

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// The words behind `name:` of the first line that has it ("flags", on Arm "Features").
std::string cpu_words(const std::string& file, std::string_view name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    auto colon = line.find(':');
    if (colon != std::string::npos && text::trim(std::string_view(line).substr(0, colon)) == name)
      return " " + line.substr(colon + 1) + " ";
  }
  return {};
}

std::uint64_t memory_line(const std::string& file, std::string_view name) {
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string key;
    std::uint64_t kilobytes = 0;
    if (fields >> key >> kilobytes && key == name) return kilobytes * 1024;
  }
  return 0;
}

// The value behind -t or --threads among a person's own arguments.
int threads_argument(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i)
    if (arguments[i] == "-t" || arguments[i] == "--threads") return number<int>(arguments[i + 1]).value_or(0);
  return 0;
}

} // namespace

std::optional<PortOwner> listening_on(const std::string& proc, std::uint16_t port) {
  auto inode = listening_inode(proc + "/net/tcp", port);
  if (!inode) inode = listening_inode(proc + "/net/tcp6", port);
  if (!inode) return std::nullopt;
  auto socket = fmt::format("socket:[{}]", *inode);
  std::error_code error;
  fs::directory_iterator at(proc, error), end;
  for (; !error && at != end; at.increment(error)) {
    auto pid = number<int>(at->path().filename().string());
    if (pid && holds(at->path(), socket)) return PortOwner{*pid, first_line(at->path() / "comm")};
  }
  return PortOwner{};
}

Verdict check_port(const World& world) {
  auto port = world.server.port;
  auto address = fmt::format("{}:{}", world.server.address, port);
  if (port == 0) return {Level::Ok, "any free port will be used"};
  auto owner = listening_on(world.proc, port);
  if (!owner) return {Level::Ok, fmt::format("{} is free for the daemon", address)};
  bool ours = owner->program == "intertie" || owner->program.starts_with("systemd") || world.daemon_answers;
  if (ours)
    return {Level::Ok, fmt::format("{} is held by {} (process {})", address,
                                   owner->program.empty() ? "intertie" : owner->program, owner->pid)};
  auto fix = fmt::format("choose another port: intertie serve --listen 127.0.0.1:{}, or [server] listen in {}",
                         port + 1, world.paths.config_file);
  if (owner->pid == 0) return {Level::Fail, fmt::format("{} is taken by a process of another user", address), fix};
  return {Level::Fail, fmt::format("{} is taken by {} (process {})", address, owner->program, owner->pid),
          fmt::format("stop it (kill {}), or {}", owner->pid, fix)};
}

Verdict check_cpu(const World& world) {
  auto has = [](const std::string& words, std::string_view word) {
    return words.find(fmt::format(" {} ", word)) != std::string::npos;
  };
  if (auto arm = cpu_words(world.cpuinfo, "Features"); !arm.empty()) {
    if (has(arm, "asimddp")) return {Level::Ok, "Arm with dot products"};
    return {Level::Warn, "this Arm processor has no dot-product instructions: answers will be slow",
            "use small models (up to 1 B parameters), or a [[provider]] on a faster machine"};
  }
  auto flags = cpu_words(world.cpuinfo, "flags");
  if (flags.empty())
    return {Level::Warn, fmt::format("{} doesn't say what this processor can do", world.cpuinfo), "look with: lscpu"};
  if (has(flags, "avx512f")) return {Level::Ok, "x86-64 with AVX-512"};
  if (has(flags, "avx2")) return {Level::Ok, "x86-64 with AVX2"};
  if (has(flags, "avx"))
    return {Level::Warn, "this processor has AVX but no AVX2: answers will be slow",
            "use small models; in a virtual machine, let it see the host's processor (QEMU: -cpu host)"};
  return {Level::Fail,
          "this processor has no AVX: most engine builds won't start on it, and answers would take minutes",
          "in a virtual machine, let it see the host's processor (QEMU: -cpu host); else use a [[provider]] on another "
          "machine"};
}

Verdict check_memory(const World& world) {
  auto total = memory_line(world.meminfo, "MemTotal:");
  auto available = world.available_memory != 0 ? world.available_memory : local::available_memory();
  if (total == 0)
    return {Level::Warn, fmt::format("{} doesn't say how much memory there is", world.meminfo), "look with: free -h"};
  auto now = fmt::format("{} available of {}", text::human_bytes(available), text::human_bytes(total));
  constexpr auto fix = "close what you don't need (`ps aux --sort -rss | head`), or use a smaller model";
  if (available < 200 * kMegabyte) return {Level::Fail, "too little memory for any model: " + now, fix};
  if (available < 700 * kMegabyte || total < 1500 * kMegabyte) return {Level::Warn, "little memory: " + now, fix};
  return {Level::Ok, now};
}

Verdict check_threads(const World& world) {
  double cores = world.cpu_quota > 0 ? std::min<double>(world.cores, world.cpu_quota) : world.cores;
  auto beyond = [&](int threads) { return threads > 1 && static_cast<double>(threads) > cores + 0.01; };
  auto limit = world.cpu_quota > 0 && world.cpu_quota < world.cores
                   ? fmt::format("{:.1f} cores by its cgroup", world.cpu_quota)
                   : fmt::format("{} cores", world.cores);
  auto too_many = [&](std::string_view what, int threads) {
    return Verdict{Level::Warn,
                   fmt::format("{} asks for {} threads, but there are {}: threads that wait for each other make each "
                               "token many times slower",
                               what, threads, limit),
                   fmt::format("leave it out, or set it to {}", std::max(1, static_cast<int>(cores) - 1))};
  };
  if (beyond(world.settings.threads)) return too_many("[local] threads", world.settings.threads);
  for (const auto& [model, flags] : world.settings.flags)
    if (int threads = threads_argument(flags.arguments); beyond(threads))
      return too_many(fmt::format("the model {}", model), threads);
  // The engine's rule is cores − 1 of those it sees; a quota below that starves them all.
  if (world.settings.threads == 0 && world.cpu_quota > 0 && beyond(world.cores - 1))
    return too_many("the default", world.cores - 1);
  if (beyond(world.server.io_threads)) return too_many("[server] io_threads", world.server.io_threads);
  if (world.settings.dedicated && world.cores <= 2)
    return {Level::Warn, "[local] dedicated = true on two cores: anything else that runs stalls the answers",
            "leave it out"};
  return {Level::Ok, fmt::format("the engine's threads fit {}", limit)};
}

Verdict check_open_files(const World&) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_max >= 4096 || files.rlim_max == RLIM_INFINITY)
    return {Level::Ok,
            fmt::format("up to {} open files", files.rlim_max == RLIM_INFINITY ? std::string("any number of")
                                                                               : std::to_string(files.rlim_max))};
  return {Level::Warn, fmt::format("at most {} open files: that many connections and no more", files.rlim_max),
          "raise it: ulimit -Hn 65536, or LimitNOFILE=65536 in the unit"};
}

} // namespace intertie::bin
