// Checks of what lies on the disk: configuration, permissions, folders, space, socket, receipts, and the clock they
// tell of.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "bin/doctor.hpp"
#include "core/text.hpp"
#include "ledger/ledger.hpp"
#include "store/database.hpp"

namespace intertie::bin {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMegabyte = 1'000'000;

// The folder itself, or the nearest one above it that exists: where it would be made.
std::string nearest_existing(const std::string& folder) {
  std::error_code error;
  fs::path at(folder);
  while (!at.empty() && !fs::exists(at, error) && at != at.parent_path()) at = at.parent_path();
  return at.empty() ? "." : at.string();
}

struct Folder {
  std::string_view what;
  const std::string& path;
};
std::array<Folder, 3> folders_of(const World& world) {
  return {Folder{"data", world.paths.data_dir}, Folder{"state", world.paths.state_dir},
          Folder{"runtime", world.paths.runtime_dir}};
}

// Can a file be made there? Asked of the disk itself: access() knows nothing of read-only mounts of other users'
// namespaces.
int try_to_write(const std::string& folder) {
  auto name = folder + "/.intertie-doctor-XXXXXX";
  int fd = ::mkstemp(name.data());
  if (fd < 0) return errno;
  ::close(fd);
  ::unlink(name.c_str());
  return 0;
}

std::string day(WallTime at) {
  auto date = std::chrono::year_month_day{std::chrono::floor<std::chrono::days>(at)};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

std::optional<CallId> newest_receipt_id(const std::string& file) {
  auto database = store::Database::open(file, store::Mode::ReadOnly);
  if (!database) return {};
  auto rows = database->prepare("SELECT id FROM receipts ORDER BY id DESC LIMIT 1");
  if (!rows) return {};
  auto there = rows->step();
  if (!there || !*there) return {};
  return CallId{static_cast<std::uint64_t>(rows->integer(0))};
}

} // namespace

Verdict check_config(const World& world) {
  if (const auto* config = world.valid()) {
    struct stat facts{};
    bool there = ::stat(config->paths.config_file.c_str(), &facts) == 0;
    return {Level::Ok, there ? fmt::format("{} is valid", config->paths.config_file)
                             : fmt::format("no {}: the defaults are in force", config->paths.config_file)};
  }
  auto message = world.config != nullptr ? world.config->error().message : std::string("not read");
  return {Level::Fail, message,
          "correct that line, or do what it asks for; `intertie config init --force` starts afresh and keeps the old "
          "file as .old"};
}

Verdict check_permissions(const World& world) {
  std::string wrong, fix;
  auto look = [&](const std::string& path, mode_t forbidden, std::string_view mode) {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) != 0 || (facts.st_mode & forbidden) == 0) return;
    wrong += fmt::format("{}{} has mode {:04o}", wrong.empty() ? "" : "; ", path,
                         static_cast<unsigned>(facts.st_mode & 07777));
    fix += fmt::format("{}chmod {} '{}'", fix.empty() ? "" : " && ", mode, path);
  };
  // Others may read the configuration (keys lie elsewhere), but who may write it decides where texts go.
  look(world.paths.config_file, S_IWGRP | S_IWOTH, "600");
  look(fs::path(world.paths.config_file).parent_path().string(), S_IWGRP | S_IWOTH, "700");
  look(world.paths.state_dir, S_IRWXG | S_IRWXO, "700");
  look(world.paths.runtime_dir, S_IRWXG | S_IRWXO, "700");
  look(world.paths.receipts_file, S_IRWXG | S_IRWXO, "600");
  if (wrong.empty()) return {Level::Ok, "configuration and state are yours alone"};
  return {Level::Fail, wrong + ": other users of this machine could read or change it", fix};
}

Verdict check_folders(const World& world) {
  for (const auto& folder : folders_of(world)) {
    auto at = nearest_existing(folder.path);
    struct stat facts{};
    if (::stat(at.c_str(), &facts) == 0 && !S_ISDIR(facts.st_mode))
      return {Level::Fail, fmt::format("the {} folder {} can't be made: {} is a file", folder.what, folder.path, at),
              fmt::format("move {} away", at)};
    if (int error = try_to_write(at); error != 0 && error != ENOSPC)
      return {Level::Fail,
              fmt::format("can't write the {} folder {}: {}", folder.what, folder.path, std::strerror(error)),
              error == EROFS
                  ? std::string("mount that disk writable, or choose other folders: XDG_STATE_HOME, XDG_DATA_HOME")
                  : fmt::format("make it yours: sudo chown -R $(id -un) '{}' && chmod 700 '{}'", at, at)};
  }
  return {Level::Ok, fmt::format("{} and {} can be written", world.paths.data_dir, world.paths.state_dir)};
}

Verdict judge_disk(std::string_view folder, std::uint64_t free, std::uint64_t total) {
  auto left = fmt::format("{} of {} free for {}", text::human_bytes(free), text::human_bytes(total), folder);
  constexpr std::string_view kFix =
      "free some space: `intertie models list` shows what models take, `intertie models rm NAME` removes one";
  if (free < 20 * kMegabyte)
    return {Level::Fail, "the disk is full: " + left + "; receipts can't be written", std::string(kFix)};
  // Five per cent of a large disk is plenty: beyond 20 GB nothing is nearly full.
  bool small_share = total > 0 && free < total / 20 && free < 20'000 * kMegabyte;
  if (free < 500 * kMegabyte || small_share)
    return {Level::Warn, "the disk is nearly full: " + left, std::string(kFix)};
  return {Level::Ok, left};
}

Verdict check_disk(const World& world) {
  Verdict worst;
  for (const auto* folder : {&world.paths.state_dir, &world.paths.data_dir}) {
    auto at = nearest_existing(*folder);
    struct statvfs facts{};
    if (::statvfs(at.c_str(), &facts) != 0) continue;
    auto verdict = judge_disk(*folder, std::uint64_t{facts.f_bavail} * facts.f_frsize,
                              std::uint64_t{facts.f_blocks} * facts.f_frsize);
    // Out of inodes is full too, and df -h doesn't say so.
    if (facts.f_files > 0 && facts.f_favail == 0)
      verdict = {Level::Fail, fmt::format("the disk of {} has no inodes left", at),
                 "delete files that are many and small: df -i"};
    if (worst.finding.empty() || verdict.level > worst.level) worst = verdict;
  }
  if (worst.finding.empty()) return {Level::Warn, "can't tell how full the disk is", "look with: df -h"};
  return worst;
}

Verdict check_socket(const World& world) {
  const auto& socket = world.server.socket;
  struct stat facts{};
  if (socket.empty()) return {Level::Ok, "no unix socket is configured"};
  if (::lstat(socket.c_str(), &facts) != 0) return {Level::Ok, fmt::format("{} is free for the daemon", socket)};
  if (!S_ISSOCK(facts.st_mode))
    return {Level::Fail, fmt::format("{} is there but is no socket", socket),
            fmt::format("move it away: mv '{}' '{}.old'", socket, socket)};
  // The kernel's list of bound sockets, so that nobody needs to be knocked up.
  std::ifstream bound(world.proc + "/net/unix");
  for (std::string line; std::getline(bound, line);)
    if (line.ends_with(" " + socket)) return {Level::Ok, fmt::format("{} is in use by the daemon", socket)};
  return {Level::Warn, fmt::format("{} is left over: nobody listens on it", socket),
          fmt::format("the next `intertie serve` replaces it; or remove it: rm '{}'", socket)};
}

Verdict check_receipts(const World& world) {
  const auto& file = world.paths.receipts_file;
  std::error_code error;
  if (!fs::exists(file, error)) return {Level::Ok, "no receipts yet"};
  auto fix = fmt::format("stop the daemon, then put it aside (a new one is made): mv '{}' '{}.damaged'", file, file);
  auto database = store::Database::open(file, store::Mode::ReadOnly);
  if (!database) return {Level::Fail, fmt::format("the receipts can't be read: {}", database.error().message), fix};
  auto verdict = [&](const std::string& what) {
    return Verdict{Level::Fail, fmt::format("{} is damaged: {}", file, what), fix};
  };
  auto rows = database->prepare("PRAGMA quick_check(1)");
  if (!rows) return verdict(rows.error().message);
  auto there = rows->step();
  if (!there) return verdict(there.error().message);
  if (!*there || rows->text(0) != "ok") return verdict(*there ? rows->text(0) : "no answer");
  if (auto readable = ledger::recent_json(file, 1, std::nullopt); !readable) return verdict(readable.error().message);
  return {Level::Ok, fmt::format("{} is sound", file)};
}

Verdict check_clock(const World& world) {
  constexpr seconds kTolerated{300};
  constexpr auto fix = "set the clock: sudo timedatectl set-ntp true";
  if (world.now + std::chrono::days{1} < world.built)
    return {Level::Fail,
            fmt::format("the clock says {}, but this program was built on {}: certificates will be refused",
                        day(world.now), day(world.built)),
            fix};
  auto newest = newest_receipt_id(world.paths.receipts_file);
  if (newest && time_of(*newest) > world.now + kTolerated)
    return {
        Level::Fail,
        fmt::format("the clock is behind the newest receipt ({} against {})", day(world.now), day(time_of(*newest))),
        fix};
  return {Level::Ok, fmt::format("{} (UTC), not behind the newest receipt", day(world.now))};
}

} // namespace intertie::bin
