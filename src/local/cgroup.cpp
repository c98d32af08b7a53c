#include "local/cgroup.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace intertie::local {
namespace {
namespace fs = std::filesystem;
constexpr const char* kRoot = "/sys/fs/cgroup";

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}
// The kernel wants each value in one write().
bool write_value(const std::string& file, const std::string& value) {
  int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) return false;
  auto written = ::write(fd, value.data(), value.size());
  ::close(fd);
  return written == static_cast<ssize_t>(value.size());
}
bool has_word(const std::string& text, std::string_view word) {
  std::istringstream words(text);
  for (std::string one; words >> one;)
    if (one == word) return true;
  return false;
}
bool alone_in(const std::string& folder, int self) {
  std::istringstream pids(text_of(folder + "/cgroup.procs"));
  int count = 0, last = 0;
  for (int pid = 0; pids >> pid; ++count) last = pid;
  return count == 1 && last == self;
}
} // namespace

std::optional<std::string> own_cgroup(std::string_view proc_self_cgroup, const std::string& root) {
  std::istringstream lines{std::string(proc_self_cgroup)};
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("0::/")) continue;
    auto path = line.substr(3);
    if (path == "/" || path.find("/../") != std::string::npos || path.ends_with("/..")) return std::nullopt;
    return root + path; // the root is nobody's own
  }
  return std::nullopt;
}

Cgroups::Cgroups(std::string folder, int self) {
  if (!alone_in(folder, self) || !has_word(text_of(folder + "/cgroup.controllers"), "memory")) return;
  if (::access((folder + "/cgroup.subtree_control").c_str(), W_OK) != 0) return;
  std::error_code error;
  auto leaf = folder + "/daemon";
  fs::create_directory(leaf, error);
  if (error || !write_value(leaf + "/cgroup.procs", std::to_string(self))) return;
  if (!write_value(folder + "/cgroup.subtree_control", "+memory")) {
    (void)write_value(folder + "/cgroup.procs", std::to_string(self)); // back to where we were
    fs::remove(leaf, error);
    return;
  }
  folder_ = std::move(folder);
}

std::string Cgroups::child(std::uint64_t run) const { return folder_ + "/engine-" + std::to_string(run); }

bool Cgroups::confine(std::uint64_t run, int pid, std::uint64_t bytes) const {
  if (!usable()) return false;
  std::error_code error;
  auto folder = child(run);
  fs::create_directory(folder, error);
  // The ceiling first: a child is never in there without one. What swaps is as good as stuck.
  if (error || !write_value(folder + "/memory.max", std::to_string(bytes))) return false;
  (void)write_value(folder + "/memory.swap.max", "0");
  (void)write_value(folder + "/memory.oom.group", "1");
  return write_value(folder + "/cgroup.procs", std::to_string(pid));
}

void Cgroups::remove(std::uint64_t run) const {
  std::error_code error;
  if (usable()) fs::remove(child(run), error);
}

Cgroups take_own_cgroup() {
  auto folder = own_cgroup(text_of("/proc/self/cgroup"), kRoot);
  return folder ? Cgroups(*std::move(folder), ::getpid()) : Cgroups{};
}

std::uint64_t memory_ceiling(std::uint64_t predicted) { return predicted + predicted / 4 + (64ULL << 20); }
} // namespace intertie::local
