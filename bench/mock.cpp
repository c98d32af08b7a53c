// Mock upstream: an OpenAI-shaped server that costs next to nothing, so that what is in front of it shows.
//   bench_mock PORT
// A request's text steers the answer: "chunks=N" stream events (64), "pace=USEC" between them (0: back to back).
// Every event is one chunk and one send. GET /stats counts requests and those whose shape a real provider would refuse.
// One thread, epoll, loopback only. It is no test double: tests use net/imposter.
#include <algorithm>
#include <csignal>
#include <memory>
#include <queue>
#include <vector>

#include "socket.hpp"

namespace bench {
namespace {

constexpr int kDefaultChunks = 64;
constexpr std::string_view kId = R"("id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT")";
constexpr std::string_view kUsage = R"("usage":{"prompt_tokens":419,"completion_tokens":170,"total_tokens":589,)"
                                    R"("prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0}})";
constexpr std::string_view kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"
    "x-request-id: req_0123456789abcdef\r\nServer: mock\r\n\r\n";

std::string answer(std::string_view status, std::string_view body) {
  std::string text = "HTTP/1.1 ";
  text.append(status).append("\r\nContent-Type: application/json\r\nContent-Length: ");
  text.append(std::to_string(body.size())).append("\r\nx-request-id: req_0123456789abcdef\r\nServer: mock\r\n\r\n");
  return text.append(body);
}

std::string whole_answer() {
  std::string text(700, 'x');
  for (std::size_t i = 0; i < text.size(); i += 6) text[i] = ' ';
  std::string body = "{";
  body.append(kId).append(
      R"(,"object":"chat.completion","created":1741569952,"model":"gpt-4.1-2025-04-14","choices":[{)");
  body.append(R"("index":0,"message":{"role":"assistant","content":")").append(text);
  body.append(R"(","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],)").append(kUsage);
  return answer("200 OK", body.append(R"(,"service_tier":"default"})"));
}

std::string event(std::string_view choices, std::string_view after = "") {
  std::string text = "data: {";
  text.append(kId).append(R"(,"object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-2025-04-14",)");
  text.append(R"("system_fingerprint":"fp_44709d6fcb","choices":[)").append(choices).append("]").append(after);
  return text.append("}\n\n");
}

std::string as_chunk(std::string_view bytes) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return std::string(size).append(bytes).append("\r\n");
}

// What each stream is made of, rendered once.
struct Script {
  std::string whole = whole_answer();
  std::string text = as_chunk(
      event(R"({"index":0,"delta":{"role":"assistant","content":" token"},"logprobs":null,"finish_reason":null})"));
  std::string finish = as_chunk(event(R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"})"));
  std::string last = as_chunk(event("", "," + std::string(kUsage)) + "data: [DONE]\n\n") + "0\r\n\r\n";
};

struct Connection {
  int fd = -1;
  std::uint64_t id = 0;
  std::string in;
  std::int64_t left = 0; // events still to send; 0 = no stream runs
  Nanos pace = 0;
  bool first = false;
};

struct Due {
  Nanos at;
  int fd;
  std::uint64_t id; // the descriptor may belong to someone else by then
  bool operator<(const Due& other) const { return at > other.at; }
};

// One whole request at the front of a connection's bytes.
struct Request {
  std::string_view head, body;
  std::size_t size = 0;
};

std::optional<Request> whole_request(std::string_view in) {
  auto end = in.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  auto head = in.substr(0, end);
  std::size_t start = end + 4, length = 0;
  if (auto value = header(head, "content-length:")) {
    length = std::strtoul(value->c_str(), nullptr, 10);
  } else if (header(head, "transfer-encoding:")) {
    auto last = in.find("0\r\n\r\n", start);
    if (last == std::string_view::npos) return std::nullopt;
    length = last + 5 - start;
  }
  if (in.size() < start + length) return std::nullopt;
  return Request{head, in.substr(start, length), start + length};
}

// What a strict provider would refuse. Cheap on purpose: it runs in every measured request.
bool well_formed(const Request& request) {
  return request.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n") && header(request.head, "host:") &&
         header(request.head, "content-type:") == "application/json" && request.body.starts_with('{') &&
         request.body.ends_with('}') && request.body.find("\"messages\"") != std::string_view::npos;
}

class Mock {
 public:
  explicit Mock(int port) : listener_(listen_on(port)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    watch(epoll_, listener_, nullptr);
  }

  [[noreturn]] void run() {
    epoll_event events[256];
    for (;;) {
      auto due = due_.empty() ? std::nullopt : std::optional(due_.top().at);
      int count = wait(epoll_, events, 256, due);
      send_due();
      for (int i = 0; i < count; ++i) {
        if (auto* connection = static_cast<Connection*>(events[i].data.ptr)) read(*connection);
        else accept_all();
      }
      gone_.clear();
    }
  }

 private:
  void accept_all() {
    for (;;) {
      int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      set_option(fd, IPPROTO_TCP, TCP_NODELAY);
      if (connections_.size() <= static_cast<std::size_t>(fd)) connections_.resize(static_cast<std::size_t>(fd) + 1);
      auto& slot = connections_[static_cast<std::size_t>(fd)];
      slot = std::make_unique<Connection>();
      slot->fd = fd;
      slot->id = ++ids_;
      watch(epoll_, fd, slot.get());
    }
  }

  void drop(Connection& connection) {
    close(connection.fd);
    gone_.push_back(
        std::move(connections_[static_cast<std::size_t>(connection.fd)])); // events of this round may name it
  }

  void read(Connection& connection) {
    static char buffer[1 << 18];
    ssize_t got = recv(connection.fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return drop(connection);
    connection.in.append(buffer, static_cast<std::size_t>(got));
    while (connection.left == 0) {
      auto request = whole_request(connection.in);
      if (!request) return;
      if (!serve(connection, *request)) return drop(connection);
      connection.in.erase(0, request->size);
    }
  }

  bool serve(Connection& connection, const Request& request) {
    if (request.head.starts_with("GET /stats ")) {
      return send_all(connection.fd, answer("200 OK", "{\"requests\":" + std::to_string(requests_) +
                                                          ",\"malformed\":" + std::to_string(malformed_) + "}"));
    }
    if (request.head.starts_with("GET /v1/models ")) {
      return send_all(connection.fd,
                      answer("200 OK", R"({"object":"list","data":[{"id":"gpt-4.1","object":"model"}]})"));
    }
    ++requests_;
    if (!well_formed(request)) {
      ++malformed_;
      return send_all(connection.fd, answer("400 Bad Request", R"({"error":{"message":"malformed for the mock"}})"));
    }
    if (request.body.find("\"stream\":true") == std::string_view::npos) return send_all(connection.fd, script_.whole);
    connection.left = std::max<std::int64_t>(3, number_after(request.body, "chunks=").value_or(kDefaultChunks));
    connection.pace = number_after(request.body, "pace=").value_or(0) * 1000;
    connection.first = true;
    if (connection.pace > 0) return step(connection) && schedule(connection, now() + connection.pace);
    while (connection.left > 0)
      if (!step(connection)) return false;
    return true;
  }

  bool schedule(const Connection& connection, Nanos at) {
    if (connection.left > 0) due_.push({at, connection.fd, connection.id});
    return true;
  }

  // One event, one send.
  bool step(Connection& connection) {
    --connection.left;
    if (connection.first) {
      connection.first = false;
      return send_all(connection.fd, std::string(kStreamHead) + script_.text);
    }
    return send_all(connection.fd, connection.left == 0   ? script_.last
                                   : connection.left == 1 ? script_.finish
                                                          : script_.text);
  }

  void send_due() {
    Nanos time = now();
    while (!due_.empty() && due_.top().at <= time) {
      Due due = due_.top();
      due_.pop();
      auto& connection = connections_[static_cast<std::size_t>(due.fd)];
      if (!connection || connection->id != due.id) continue;
      if (step(*connection)) schedule(*connection, due.at + connection->pace);
      else drop(*connection);
    }
  }

  Script script_;
  int listener_, epoll_;
  std::uint64_t ids_ = 0, requests_ = 0, malformed_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_, gone_;
  std::priority_queue<Due> due_;
};
} // namespace
} // namespace bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  if (argc != 2) {
    std::fputs("usage: bench_mock PORT\n", stderr);
    return 2;
  }
  bench::Mock(std::atoi(argv[1])).run();
}
