// The few socket calls that mock upstream and load client share. Loopback only; one thread; a failed system call that
// nothing can be done about ends the program, because a bench that limps on measures something else.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

namespace bench {

using Nanos = std::int64_t;
inline constexpr Nanos kSecond = 1'000'000'000;

inline Nanos now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

[[noreturn]] inline void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

inline sockaddr_in loopback(int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

inline void set_option(int fd, int level, int option) {
  int one = 1;
  setsockopt(fd, level, option, &one, sizeof one);
}

inline int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  set_option(fd, SOL_SOCKET, SO_REUSEADDR);
  sockaddr_in at = loopback(port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) die("bind");
  if (listen(fd, 4096) != 0) die("listen");
  return fd;
}

inline int connect_to(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at = loopback(port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) die("connect");
  set_option(fd, IPPROTO_TCP, TCP_NODELAY);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

// Sends everything; false when the peer is gone or takes nothing for five seconds.
inline bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    pollfd writable{fd, POLLOUT, 0};
    if (errno != EAGAIN || poll(&writable, 1, 5000) <= 0) return false;
  }
  return true;
}

inline void watch(int epoll, int fd, void* tag) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.ptr = tag;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

// Waits with the precision that paced streams need; a due time in the past means "don't wait".
inline int wait(int epoll, epoll_event* events, int count, std::optional<Nanos> due) {
  timespec span{};
  if (due) {
    Nanos left = std::max<Nanos>(0, *due - now());
    span = {left / kSecond, left % kSecond};
  }
  return epoll_pwait2(epoll, events, count, due ? &span : nullptr, nullptr);
}

// The number after `name` in text, e.g. number_after(body, "pace=").
inline std::optional<std::int64_t> number_after(std::string_view text, std::string_view name) {
  auto at = text.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  std::int64_t value = 0;
  const char* begin = text.data() + at + name.size();
  auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

// A header's value by its lower-case name with colon; heads are small, a copy is cheap enough here.
inline std::optional<std::string> header(std::string_view head, std::string_view name) {
  std::string lower(head);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  auto at = lower.find("\r\n" + std::string(name));
  if (at == std::string::npos) return std::nullopt;
  at += 2 + name.size();
  auto end = lower.find("\r\n", at);
  auto begin = lower.find_first_not_of(' ', at);
  return lower.substr(begin, end == std::string::npos ? end : end - begin);
}

} // namespace bench
