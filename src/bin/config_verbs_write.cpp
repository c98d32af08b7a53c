#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "bin/config_verbs.hpp"

namespace intertie::bin {
namespace {

bool there(const std::string& file) {
  struct stat facts{};
  return ::stat(file.c_str(), &facts) == 0;
}

Result<> write_whole(int fd, std::string_view text, const std::string& file) {
  while (!text.empty()) {
    auto done = ::write(fd, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0)
      return fail(FailureKind::Unavailable, Fault::LocalResource,
                  fmt::format("can't write {}: {}", file, std::strerror(errno)));
    text.remove_prefix(static_cast<std::size_t>(done));
  }
  if (::fsync(fd) != 0)
    return fail(FailureKind::Unavailable, Fault::LocalResource,
                fmt::format("can't write {}: {}", file, std::strerror(errno)));
  return {};
}

std::unexpected<Failure> denied(std::string_view what, const std::string& file) {
  return fail(FailureKind::Denied, Fault::LocalResource,
              fmt::format("can't {} {}: {}", what, file, std::strerror(errno)));
}

std::string contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace

Result<> replace_config(const std::string& file, std::string_view before, std::string_view text) {
  if (before.empty() && !there(file)) {
    TRY_VOID(write_sample(file, text, Existing::Keep));
    return {};
  }
  // Beside what a link points to, so that whoever keeps the file in a repository of their own goes on doing so.
  std::error_code error;
  auto real = std::filesystem::canonical(file, error).string();
  struct stat facts{};
  if (error || ::stat(real.c_str(), &facts) != 0) return denied("find", file);
  auto half = fmt::format("{}.{}.part", real, ::getpid());
  int fd = ::open(half.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return denied("write", half);
  auto written = write_whole(fd, text, half);
  if (written && ::fchmod(fd, facts.st_mode & 0777) != 0) written = denied("set the mode of", half);
  ::close(fd);
  if (written && contents(real) != before)
    written = bad_request(fmt::format("{} was changed meanwhile: try again", file), "changed_meanwhile");
  if (written && ::rename(half.c_str(), real.c_str()) != 0) written = denied("write", file);
  if (!written) ::unlink(half.c_str());
  return written;
}

Result<std::string> write_sample(const std::string& file, std::string_view text, Existing existing) {
  namespace fs = std::filesystem;
  bool exists = there(file);
  if (exists && existing == Existing::Keep)
    return bad_request(
        fmt::format("{} exists already; see it with `intertie config show`, or replace it (the old one is kept "
                    "beside it) with `intertie config init --force`",
                    file),
        "exists");
  std::error_code error;
  auto folder = fs::path(file).parent_path();
  if (!folder.empty() && !fs::exists(folder, error)) {
    fs::create_directories(folder, error);
    if (!error) fs::permissions(folder, fs::perms::owner_all, error);
  }
  if (error)
    return fail(FailureKind::Denied, Fault::LocalResource,
                fmt::format("can't make the folder {}: {}", folder.string(), error.message()));
  // Whole or not at all, and never readable by others: it may come to hold keys.
  auto half = fmt::format("{}.{}.part", file, ::getpid());
  int fd = ::open(half.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return fail(FailureKind::Denied, Fault::LocalResource,
                fmt::format("can't write {}: {}", half, std::strerror(errno)));
  auto written = write_whole(fd, text, half);
  ::close(fd);
  std::string kept = exists ? file + ".old" : std::string{};
  if (written && exists && ::rename(file.c_str(), kept.c_str()) != 0)
    written = fail(FailureKind::Denied, Fault::LocalResource,
                   fmt::format("can't keep the old file as {}: {}", kept, std::strerror(errno)));
  if (written && ::rename(half.c_str(), file.c_str()) != 0)
    written =
        fail(FailureKind::Denied, Fault::LocalResource, fmt::format("can't write {}: {}", file, std::strerror(errno)));
  if (!written) {
    ::unlink(half.c_str());
    return std::unexpected(std::move(written).error());
  }
  return kept;
}

} // namespace intertie::bin
