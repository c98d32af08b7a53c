#include "net/imposter.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <list>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "net/http_parse.hpp"
#include "net/imposter_tls.hpp"
#include "net/listen.hpp"

namespace intertie::net {
namespace {
struct Rule {
  std::string text;
  Script script;
  int times;
};
} // namespace

Script Script::json(std::string body, int status) {
  Script script;
  script.body = std::move(body);
  script.status = status;
  return script;
}
Script Script::events(std::vector<std::string> pieces, milliseconds pace) {
  Script script;
  script.pieces = std::move(pieces);
  script.pace = pace;
  script.framing = Framing::Chunked;
  script.content_type = "text/event-stream";
  return script;
}
Script Script::html_error(int status) {
  Script script = json("<html><body><h1>Something went wrong</h1></body></html>", status);
  script.content_type = "text/html";
  return script;
}
Script Script::failing(Fails how, std::size_t after) {
  Script script = json(R"({"answer":"this one will not arrive whole"})");
  script.fails = how;
  script.after = after;
  return script;
}

struct Imposter::Impl {
  int listener = -1;
  int stop = ::eventfd(0, EFD_CLOEXEC);
  std::uint16_t port = 0;
  std::string unix_path, name;
  SSL_CTX* tls = nullptr;
  std::thread acceptor;
  std::list<std::thread> workers; // the acceptor's until it has ended
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::vector<Rule> rules;
  std::vector<Seen> seen;
  std::size_t accepted = 0, gone = 0;
  std::uint16_t tunnel_port = 0;
  int tunnel_status = 200;

  void start(int fd) {
    std::signal(SIGPIPE, SIG_IGN);
    listener = fd;
    port = local_port(fd);
    acceptor = std::thread([this] { accept_all(); });
  }
  void end() {
    std::uint64_t one = 1;
    (void)!::write(stop, &one, sizeof one);
    if (acceptor.joinable()) acceptor.join();
    for (auto& worker : workers) worker.join();
    ::close(listener);
    ::close(stop);
    if (!unix_path.empty()) ::unlink(unix_path.c_str());
    SSL_CTX_free(tls);
  }
  // Waits for `fd` (-1: only for time); false when the imposter is to stop or, with a time, when that has passed.
  bool wait(int fd, short events, int milliseconds_most = -1) const {
    pollfd both[] = {{stop, POLLIN, 0}, {fd, events, 0}};
    int ready = ::poll(both, fd < 0 ? 1 : 2, milliseconds_most);
    return ready > 0 && (both[0].revents == 0);
  }
  void accept_all() {
    while (wait(listener, POLLIN)) {
      int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      {
        std::lock_guard lock(mutex);
        ++accepted;
      }
      changed.notify_all();
      workers.emplace_back([this, fd] { serve(fd); });
    }
  }
  void peer_gone() {
    {
      std::lock_guard lock(mutex);
      ++gone;
    }
    changed.notify_all();
  }
  void serve(int fd);
};

namespace {
// One connection of an Imposter, on its own thread.
class Peer {
 public:
  Peer(Imposter::Impl& host, int fd, SSL* ssl) : host_(host), fd_(fd), ssl_(ssl) {}
  bool read_some() {
    if (ssl_ == nullptr || SSL_pending(ssl_) == 0)
      if (!host_.wait(fd_, POLLIN)) return false;
    char bytes[16384];
    ssize_t got = ssl_ != nullptr ? SSL_read(ssl_, bytes, sizeof bytes) : ::recv(fd_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    in.append(bytes, static_cast<std::size_t>(got));
    return true;
  }
  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      if (peer_left()) return false;
      ssize_t sent = ssl_ != nullptr
                         ? SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 16384)))
                         : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
      else if (!host_.wait(fd_, POLLOUT)) return false;
    }
    return true;
  }
  bool peer_left() const {
    pollfd query{fd_, POLLRDHUP, 0};
    return ::poll(&query, 1, 0) > 0 && (query.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
  }
  // Lets time pass; false when the peer has left meanwhile.
  bool pass(milliseconds time) { return !host_.wait(fd_, POLLRDHUP, static_cast<int>(time.count())) && !peer_left(); }
  std::string in;

 private:
  Imposter::Impl& host_;
  int fd_;
  SSL* ssl_;
};

bool paced(Peer& peer, std::string_view bytes, const Script& script) {
  if (script.drip_bytes == 0) return peer.write(bytes);
  while (!bytes.empty()) {
    std::size_t size = std::min(script.drip_bytes, bytes.size());
    if (!peer.write(bytes.substr(0, size)) || !peer.pass(script.drip_every)) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

std::string head_of(const Script& script, std::size_t length) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n", script.status, status_text(script.status),
                                 script.content_type);
  for (const auto& [name, value] : script.headers) head += fmt::format("{}: {}\r\n", name, value);
  if (script.framing == Script::Framing::Chunked) head += "Transfer-Encoding: chunked\r\n";
  if (script.framing == Script::Framing::Length)
    head += fmt::format("Content-Length: {}\r\n", length + (script.fails == Script::Fails::WrongLength ? 10 : 0));
  if (script.close_after || script.framing == Script::Framing::UntilClose) head += "Connection: close\r\n";
  return head + "\r\n";
}

enum class After : std::uint8_t { KeepOpen, Close, Reset, Stall };

After perform(Peer& peer, const Script& script, bool head_request) {
  using Fails = Script::Fails;
  if (script.fails == Fails::StallBeforeHead) return After::Stall;
  if (script.fails == Fails::Reset && script.after == 0) return After::Reset;
  if (script.fails == Fails::Garbage) {
    peer.write("\x16\x03\x01 220 ready when you are\r\n\r\n");
    return After::Close;
  }
  std::vector<std::string> pieces = script.pieces;
  if (pieces.empty() && !script.body.empty()) pieces.push_back(script.body);
  std::size_t length = 0;
  for (const auto& piece : pieces) length += piece.size();
  std::size_t allowed =
      script.fails == Fails::Never || script.fails == Fails::WrongLength ? length : std::min(length, script.after);
  if (head_request) allowed = 0;
  bool chunked = script.framing == Script::Framing::Chunked;
  std::string pending = head_of(script, length);
  bool first = true;
  for (const auto& piece : pieces) {
    if (allowed == 0) break;
    if (!first && script.pace.count() > 0 && !peer.pass(script.pace)) return After::Close;
    first = false;
    std::string_view part = std::string_view(piece).substr(0, allowed);
    allowed -= part.size();
    pending += chunked ? fmt::format("{:x}\r\n{}{}", piece.size(), part, part.size() == piece.size() ? "\r\n" : "")
                       : std::string(part);
    if (!paced(peer, pending, script)) return After::Close;
    pending.clear();
  }
  if (chunked && (script.fails == Fails::Never || script.fails == Fails::WrongLength) && !head_request)
    pending += "0\r\n\r\n";
  if (!paced(peer, pending, script)) return After::Close;
  switch (script.fails) {
    case Fails::Reset: return After::Reset;
    case Fails::StallInBody: return After::Stall;
    case Fails::Cut:
    case Fails::WrongLength: return After::Close;
    default: break;
  }
  bool close = script.close_after || script.close_silently || script.framing == Script::Framing::UntilClose;
  return close ? After::Close : After::KeepOpen;
}

// Reads one request; false when the peer has left.
bool read_request(Peer& peer, Imposter::Seen& seen) {
  std::size_t end;
  while ((end = peer.in.find("\r\n\r\n")) == std::string::npos)
    if (!peer.read_some()) return false;
  seen.head = peer.in.substr(0, end + 4);
  std::string length = seen.header("content-length");
  std::size_t size = length.empty() ? 0 : std::stoul(length);
  while (peer.in.size() < end + 4 + size)
    if (!peer.read_some()) return false;
  seen.body = peer.in.substr(end + 4, size);
  peer.in.erase(0, end + 4 + size);
  return true;
}

// Copies bytes both ways until either side ends.
void tunnel(Imposter::Impl& host, int client, std::uint16_t port) {
  int upstream = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(upstream, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0) {
    char bytes[16384];
    for (;;) {
      pollfd all[] = {{host.stop, POLLIN, 0}, {client, POLLIN, 0}, {upstream, POLLIN, 0}};
      ::poll(all, 3, -1);
      if (all[0].revents != 0) break;
      int from = all[1].revents != 0 ? client : upstream;
      ssize_t got = ::recv(from, bytes, sizeof bytes, 0);
      if (got <= 0 ||
          ::send(from == client ? upstream : client, bytes, static_cast<std::size_t>(got), MSG_NOSIGNAL) != got)
        break;
    }
  }
  ::close(upstream);
}
} // namespace

void Imposter::Impl::serve(int fd) {
  int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  SSL* ssl = nullptr;
  bool ready = true;
  if (tls != nullptr) {
    ssl = SSL_new(tls);
    SSL_set_fd(ssl, fd);
    timeval patience{5, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ready = SSL_accept(ssl) == 1;
  }
  Peer peer(*this, fd, ssl);
  After after = After::KeepOpen;
  Seen request;
  while (ready && after == After::KeepOpen && read_request(peer, request)) {
    std::optional<Script> script;
    std::uint16_t tunnel_target = 0;
    {
      std::lock_guard lock(mutex);
      for (auto rule = rules.rbegin(); rule != rules.rend() && !script; ++rule)
        if (rule->times != 0 && (request.path().find(rule->text) != std::string::npos ||
                                 request.body.find(rule->text) != std::string::npos)) {
          script = rule->script;
          if (rule->times > 0) --rule->times;
        }
      if (request.head.starts_with("CONNECT ") && tunnel_status == 200) tunnel_target = tunnel_port;
      if (request.head.starts_with("CONNECT ") && tunnel_status != 200) script = Script::json("{}", tunnel_status);
      seen.push_back(request);
    }
    changed.notify_all();
    if (tunnel_target != 0) {
      peer.write("HTTP/1.1 200 Connection established\r\n\r\n");
      tunnel(*this, fd, tunnel_target);
      after = After::Close;
    } else {
      after = perform(peer, script.value_or(Script::json(R"({"error":"no rule"})", 404)),
                      request.head.starts_with("HEAD "));
    }
  }
  if (after == After::Stall) wait(fd, POLLRDHUP);
  if (peer.peer_left() || after == After::KeepOpen) peer_gone();
  if (after == After::Reset) {
    linger hard{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }
  if (ssl != nullptr) {
    if (after != After::Reset) SSL_shutdown(ssl);
    SSL_free(ssl);
  }
  ::close(fd);
}

Imposter::Imposter() : impl_(std::make_unique<Impl>()) {
  impl_->start(open_tcp_listener("127.0.0.1", 0, false).value());
}

Imposter::Imposter(const TestAuthority& authority, const std::string& name) : impl_(std::make_unique<Impl>()) {
  impl_->name = name;
  impl_->tls = authority.impl_->server_context(name);
  impl_->start(open_tcp_listener("127.0.0.1", 0, false).value());
}

Imposter::Imposter(const std::string& unix_path) : impl_(std::make_unique<Impl>()) {
  impl_->unix_path = unix_path;
  impl_->start(open_unix_listener(unix_path).value());
}

Imposter::~Imposter() { impl_->end(); }
std::uint16_t Imposter::port() const { return impl_->port; }

std::string Imposter::url(const std::string& path) const {
  if (!impl_->unix_path.empty()) return "unix:" + impl_->unix_path + ":" + path;
  return fmt::format("{}://127.0.0.1:{}{}", impl_->tls != nullptr ? "https" : "http", impl_->port, path);
}
Endpoint Imposter::endpoint() const { return parse_url(url()).value().endpoint; }

void Imposter::when(const std::string& text, Script script, int times) {
  std::lock_guard lock(impl_->mutex);
  impl_->rules.push_back({text, std::move(script), times});
}
void Imposter::tunnel_to(std::uint16_t port, int status) {
  std::lock_guard lock(impl_->mutex);
  impl_->tunnel_port = port;
  impl_->tunnel_status = status;
}

std::string Imposter::Seen::path() const {
  std::size_t begin = head.find(' '), end = head.find(' ', begin + 1);
  return head.substr(begin + 1, end - begin - 1);
}
std::string Imposter::Seen::header(const std::string& name) const { return std::string(find_header(head, name)); }

std::vector<Imposter::Seen> Imposter::seen() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->seen;
}
std::size_t Imposter::connections() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->accepted;
}
bool Imposter::wait_seen(std::size_t requests, milliseconds most) const {
  std::unique_lock lock(impl_->mutex);
  return impl_->changed.wait_for(lock, most, [&] { return impl_->seen.size() >= requests; });
}
bool Imposter::wait_gone(std::size_t connections, milliseconds most) const {
  std::unique_lock lock(impl_->mutex);
  return impl_->changed.wait_for(lock, most, [&] { return impl_->gone >= connections; });
}

std::uint16_t closed_port() {
  int fd = open_tcp_listener("127.0.0.1", 0, false).value();
  std::uint16_t port = local_port(fd);
  ::close(fd);
  return port;
}
} // namespace intertie::net
