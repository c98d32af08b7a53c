#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

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

} // namespace

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
