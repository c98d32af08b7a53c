// Where keys come from. A key itself is never in the configuration, in a message or in a log.
#include <cerrno>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/parts.hpp"
#include "core/text.hpp"

namespace intertie::config {
namespace {
constexpr std::size_t kLongestKey = 16'384;

bool sendable(std::string_view key) { // in a header
  for (char c : key)
    if (c <= 0x20 || c >= 0x7F) return false;
  return true;
}

// Reads a small private file. `strict`: refuses one that others may read.
std::optional<Secret> read_private(const Value& value, const std::string& path, bool strict) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    value.wrong(fmt::format("names the file {}, which can't be read: {}", path, std::strerror(errno)));
    return std::nullopt;
  }
  struct stat facts{};
  std::string text(kLongestKey + 1, '\0');
  ssize_t size = -1;
  bool regular = ::fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
  if (regular) size = ::read(fd, text.data(), text.size());
  ::close(fd);
  Secret wiped{std::string(text, 0, size > 0 ? static_cast<std::size_t>(size) : 0)};
  explicit_bzero(text.data(), text.size());
  if (!regular) value.wrong(fmt::format("names {}, which is not a file", path));
  else if (strict && (facts.st_mode & 077) != 0)
    value.wrong(fmt::format("names the file {}, which others may read: chmod 600 {}", path, path));
  else if (size < 0 || static_cast<std::size_t>(size) > kLongestKey)
    value.wrong(fmt::format("names the file {}, which does not hold one key", path));
  else return Secret(std::string(text::trim(wiped.reveal())));
  return std::nullopt;
}
} // namespace

LoadedKey read_key(const Value& value, std::string_view reference, const Environment& environment) {
  auto checked = [&](Secret secret, std::string source) -> LoadedKey {
    if (secret.empty()) value.wrong(fmt::format("names the {}, which is empty", source));
    else if (!sendable(secret.reveal())) value.wrong(fmt::format("names the {}, which holds more than a key", source));
    return {std::move(secret), std::move(source)};
  };
  if (reference.starts_with("env:") && reference.size() > 4) {
    std::string name(reference.substr(4));
    Secret secret(environment.get(name));
    // Not there yet is not a mistake: the provider is listed, and explain says that its key is missing.
    if (secret.empty()) return {Secret{}, fmt::format("environment {} (not set)", name)};
    return checked(std::move(secret), fmt::format("environment {}", name));
  }
  if (reference.starts_with("file:") && reference.size() > 5) {
    auto path = expand_home(reference.substr(5), environment);
    if (auto secret = read_private(value, path, true)) return checked(std::move(*secret), fmt::format("file {}", path));
    return {};
  }
  if (reference.starts_with("credential:") && reference.size() > 11) {
    auto name = reference.substr(11);
    auto folder = environment.get("CREDENTIALS_DIRECTORY");
    if (name.find('/') != std::string_view::npos || name.starts_with('.')) {
      value.wrong("must name a credential, not a path: \"credential:openai\"");
    } else if (folder.empty()) {
      value.wrong(
          "names a credential, but $CREDENTIALS_DIRECTORY is not set: systemd sets it for a unit with "
          "LoadCredential=");
    } else if (auto secret = read_private(value, fmt::format("{}/{}", folder, name), false)) {
      return checked(std::move(*secret), fmt::format("credential {}", name));
    }
    return {};
  }
  // Whatever stands here may be a key: it is not repeated.
  value.wrong(
      "must say where the key is, not what it is: \"env:NAME\" for an environment variable, \"file:/path\" for a "
      "file of mode 0600, or \"credential:NAME\" for a systemd credential. If a key stood here, take it out of "
      "this file and revoke it");
  return {};
}
} // namespace intertie::config
