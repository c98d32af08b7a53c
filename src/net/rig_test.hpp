// For net's own tests: a Worker on its own thread with a Server, and a blocking raw client. Not part of the library.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "net/client.hpp"
#include "net/server.hpp"

namespace intertie::net {

// A raw TCP client with blocking calls that give up after ten seconds.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    int one = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    timeval patience{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  ~RawClient() { close(); }
  RawClient(RawClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)), in_(std::move(other.in_)) {}
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  bool read_some() {
    char bytes[65536];
    ssize_t got = ::recv(fd_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    in_.append(bytes, static_cast<std::size_t>(got));
    return true;
  }
  // One answer: head and body (by length, chunked or until the end). Empty when the connection ended before it was whole.
  std::string answer(bool head_request = false) {
    std::size_t end;
    while ((end = in_.find("\r\n\r\n")) == std::string::npos)
      if (!read_some()) return {};
    std::size_t whole = end + 4;
    std::string head = in_.substr(0, whole);
    if (head.find("chunked") != std::string::npos && !head_request) {
      std::size_t last;
      while ((last = in_.find("0\r\n\r\n", end + 2)) == std::string::npos)
        if (!read_some()) return {};
      whole = last + 5;
    } else if (std::size_t at = head.find("Content-Length: "); at != std::string::npos && !head_request) {
      whole += std::stoul(head.substr(at + 16));
      while (in_.size() < whole)
        if (!read_some()) return {};
    } else if (head.find("Connection: close") != std::string::npos && !head_request) {
      while (read_some()) {}
      whole = in_.size();
    }
    std::string result = in_.substr(0, whole);
    in_.erase(0, whole);
    return result;
  }
  bool readable_within(milliseconds time) {
    pollfd wanted{fd_, POLLIN, 0};
    return !in_.empty() || ::poll(&wanted, 1, static_cast<int>(time.count())) > 0;
  }
  std::string ask(std::string_view bytes) { return send(bytes) ? answer() : ""; }
  bool ended() { // does the server close without another byte?
    return in_.empty() && !read_some() && errno != EAGAIN;
  }
  void end_sending() { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
  std::string in_;
};

inline std::string post(std::string_view body, std::string_view extra = "", std::string_view path = "/echo") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(extra) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

inline std::string deflated(std::string_view text, int window) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, window, 9, Z_DEFAULT_STRATEGY);
  std::string out(text.size() / 2 + 1024, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// A Worker that runs on its own thread from construction to destruction.
class Rig {
 public:
  explicit Rig(Handler handler = nullptr, ServerLimits limits = {}) {
    if (handler) {
      server.emplace(worker, limits, std::move(handler));
      EXPECT_TRUE(server->listen_tcp("127.0.0.1", 0, false));
    }
    client.emplace(worker);
    thread_ = std::thread([this] { worker.run(); });
  }
  ~Rig() { stop(milliseconds{200}); }
  void stop(milliseconds grace) {
    worker.stop(grace);
    if (thread_.joinable()) thread_.join();
  }
  RawClient connect() { return RawClient(server->port()); }
  // Runs a task on the worker and waits for its result.
  template <class T>
  T run(std::function<Task<T>(Client&, Worker&)> work) {
    std::promise<T> promise;
    auto future = promise.get_future();
    worker.spawn(carry<T>(std::move(work), *client, worker, promise));
    return future.get();
  }
  SystemClock clock;
  Worker worker{clock};
  std::optional<Server> server;
  std::optional<Client> client;

 private:
  template <class T>
  static Task<void> carry(std::function<Task<T>(Client&, Worker&)> work, Client& client, Worker& worker,
                          std::promise<T>& promise) {
    promise.set_value(co_await work(client, worker));
  }
  std::thread thread_;
};

inline Call make_call(Worker& worker, milliseconds time = seconds{20}) {
  TimePoint now = worker.clock().now();
  return Call{{}, worker.clock(), now, now + time};
}

} // namespace intertie::net
