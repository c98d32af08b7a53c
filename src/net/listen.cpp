#include "net/listen.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>

#include "core/task.hpp"

namespace intertie::net {
namespace {
constexpr int kBacklog = 1024;

std::string because(int error) { return std::generic_category().message(error); }

std::unexpected<Failure> unavailable(std::string message) {
  return fail(FailureKind::Unavailable, Fault::LocalResource, std::move(message));
}

// The inode of the socket that listens on `port`, from the kernel's table.
std::string listening_inode(const char* table, std::uint16_t port) {
  std::ifstream in(table);
  std::string line, slot, local, remote, state, skipped, inode;
  std::string wanted = fmt::format(":{:04X}", port);
  std::getline(in, line);
  while (in >> slot >> local >> remote >> state >> skipped >> skipped >> skipped >> skipped >> skipped >> inode) {
    std::getline(in, line);
    if (state == "0A" && local.ends_with(wanted)) return inode;
  }
  return {};
}

std::unexpected<Failure> bind_failed(int error, const std::string& address, std::uint16_t port) {
  if (error == EADDRINUSE) {
    std::string owner = port_owner(port);
    return unavailable(fmt::format("port {} is taken{}{}: stop that program or choose another port", port,
                                   owner.empty() ? "" : " by ", owner));
  }
  if (error == EACCES)
    return fail(FailureKind::Denied, Fault::LocalResource,
                fmt::format("port {} needs privileges this user lacks: choose one above 1023", port));
  if (error == EADDRNOTAVAIL)
    return fail(FailureKind::NotFound, Fault::LocalResource,
                fmt::format("{} is not an address of this machine: listen on 127.0.0.1 or one that is", address));
  return unavailable(fmt::format("can't listen on {} port {}: {}", address, port, because(error)));
}
} // namespace

std::string port_owner(std::uint16_t port) {
  std::string inode = listening_inode("/proc/net/tcp", port);
  if (inode.empty()) inode = listening_inode("/proc/net/tcp6", port);
  if (inode.empty()) return {};
  std::string wanted = "socket:[" + inode + "]";
  std::error_code error;
  for (std::filesystem::directory_iterator process("/proc", error), end; !error && process != end;
       process.increment(error)) {
    std::string pid = process->path().filename();
    if (pid.find_first_not_of("0123456789") != pid.npos) continue;
    std::error_code hidden;
    for (std::filesystem::directory_iterator fd(process->path() / "fd", hidden); !hidden && fd != end;
         fd.increment(hidden)) {
      std::error_code gone;
      if (std::filesystem::read_symlink(fd->path(), gone) != wanted) continue;
      std::string name;
      std::getline(std::ifstream(process->path() / "comm"), name);
      return fmt::format("{} (pid {})", name, pid);
    }
  }
  return {};
}

Result<int> open_tcp_listener(const std::string& address, std::uint16_t port, bool reuse_port) {
  boost::system::error_code bad;
  auto ip = asio::ip::make_address(address == "localhost" ? "127.0.0.1" : address, bad);
  if (bad)
    return bad_request(fmt::format("'{}' is not an IP address to listen on: use 127.0.0.1, ::1 or 0.0.0.0", address));
  asio::ip::tcp::endpoint endpoint(ip, port);
  int fd = ::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return unavailable(fmt::format("can't make a socket: {}", because(errno)));
  int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (reuse_port) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  if (ip.is_v6()) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (::bind(fd, endpoint.data(), static_cast<socklen_t>(endpoint.size())) < 0 || ::listen(fd, kBacklog) < 0) {
    int error = errno;
    ::close(fd);
    return bind_failed(error, address, port);
  }
  return fd;
}

Result<int> open_unix_listener(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof name.sun_path)
    return bad_request(fmt::format("the socket path must have 1 to {} bytes: {}", sizeof name.sun_path - 1, path));
  std::memcpy(name.sun_path, path.data(), path.size());
  const auto* address = reinterpret_cast<const sockaddr*>(&name);
  struct stat old{};
  if (::lstat(path.c_str(), &old) == 0) {
    if (!S_ISSOCK(old.st_mode))
      return fail(FailureKind::Denied, Fault::LocalResource,
                  fmt::format("{} exists and is not a socket: remove it or choose another path", path));
    int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool dead = ::connect(probe, address, sizeof name) < 0 && errno == ECONNREFUSED;
    ::close(probe);
    if (!dead) return unavailable(fmt::format("another program listens on {}: stop it or choose another path", path));
    ::unlink(path.c_str());
  }
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return unavailable(fmt::format("can't make a socket: {}", because(errno)));
  // Before bind, so that the file never exists with a wider mode.
  if (::fchmod(fd, 0600) < 0 || ::bind(fd, address, sizeof name) < 0 || ::chmod(path.c_str(), 0600) < 0 ||
      ::listen(fd, kBacklog) < 0) {
    int error = errno;
    ::close(fd);
    FailureKind kind = error == EACCES   ? FailureKind::Denied
                       : error == ENOENT ? FailureKind::NotFound
                                         : FailureKind::Unavailable;
    return fail(
        kind, Fault::LocalResource,
        fmt::format("can't listen on {}: {} (does its folder exist, and may you write there?)", path, because(error)));
  }
  return fd;
}

Result<std::string> handed_over(int fd) {
  auto option = [fd](int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  if (option(SO_ACCEPTCONN) != 1 || option(SO_TYPE) != SOCK_STREAM)
    return bad_request(
        fmt::format("file descriptor {} was handed over and is no listening stream socket: the .socket unit "
                    "needs ListenStream=127.0.0.1:4683, and Accept= must stay off",
                    fd));
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) < 0)
    return unavailable(fmt::format("can't ask where file descriptor {} listens: {}", fd, because(errno)));
  if (name.ss_family == AF_UNIX) {
    const auto& local = reinterpret_cast<const sockaddr_un&>(name);
    std::string_view path(local.sun_path, size - offsetof(sockaddr_un, sun_path));
    std::string text(path.substr(0, path.find('\0', 1)));
    if (text.starts_with('\0')) text[0] = '@'; // an abstract name, as systemd writes it
    return "unix:" + text;
  }
  asio::ip::tcp::endpoint endpoint;
  if (size > endpoint.capacity() || (name.ss_family != AF_INET && name.ss_family != AF_INET6))
    return bad_request(fmt::format("file descriptor {} was handed over and is neither TCP nor a unix socket", fd));
  std::memcpy(endpoint.data(), &name, size);
  endpoint.resize(size);
  bool six = endpoint.address().is_v6();
  auto where =
      fmt::format("{}{}{}:{}", six ? "[" : "", endpoint.address().to_string(), six ? "]" : "", endpoint.port());
  if (!endpoint.address().is_loopback())
    return fail(
        FailureKind::Denied, Fault::OurPolicy,
        fmt::format("the socket handed over listens on {}, where other machines reach it, and this version serves "
                    "none (no tokens and no TLS yet): say ListenStream=127.0.0.1:{} in the .socket unit",
                    where, endpoint.port()));
  return where;
}

std::uint16_t local_port(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) < 0) return 0;
  if (name.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in&>(name).sin_port);
  if (name.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6&>(name).sin6_port);
  return 0;
}

bool is_tcp(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain != AF_UNIX;
}
} // namespace intertie::net
