// intertie check: what private data a text holds and where it could go. Nothing is sent anywhere.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "bin/check_report.hpp"
#include "bin/verbs.hpp"

namespace intertie::bin {
namespace {

constexpr std::size_t kMostText = 256u << 20; // findings count bytes in 32 bits; nobody reads more by hand

Result<std::string> read_all(int fd, std::string_view name) {
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    auto got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return bad_request(fmt::format("can't read {}: {}", name, std::strerror(errno)));
    if (got == 0) return text;
    if (text.size() + static_cast<std::size_t>(got) > kMostText)
      return bad_request(fmt::format("{} is larger than 256 MB: split it, e.g. with `split -C 100M`", name));
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

Result<std::string> read_input(const std::string& file) {
  if (file.empty() || file == "-") return read_all(STDIN_FILENO, "standard input");
  int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bad_request(fmt::format("can't open {}: {}", file, std::strerror(errno)));
  auto text = read_all(fd, file);
  ::close(fd);
  return text;
}

} // namespace

int check(const Options& options, const config::Config& config) {
  auto text = read_input(options.file);
  if (!text) return complain(text.error());
  auto findings = guard::scan_text(*text);
  std::string_view name = options.file.empty() ? std::string_view{"standard input"} : std::string_view{options.file};
  Checked checked{name, *text, findings, config.policy.matrix};
  if (options.json) fmt::print("{}\n", check_json(checked));
  else fmt::print("{}", check_text(checked));
  return kOk;
}

} // namespace intertie::bin
