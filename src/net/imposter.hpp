// A test library, not linked into the product's path: a real HTTP server on port 0 with its own threads that answers as it
// was told, well or badly, and remembers what it was asked. TLS with a certificate authority made on the spot.
// All functions may be called from any thread; blocking inside, on purpose simple.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "net/client.hpp"

namespace intertie::net {

// How an Imposter answers one request.
struct Script {
  enum class Framing : std::uint8_t { Length, Chunked, UntilClose };
  enum class Fails : std::uint8_t {
    Never,
    Reset,           // TCP reset after `after` bytes of the answer's body (0: instead of the head)
    StallBeforeHead, // reads the request and says nothing
    StallInBody,     // goes silent after `after` bytes of body
    Cut,             // closes after `after` bytes of the body, the framing still open
    WrongLength,     // announces ten bytes more than it sends, then closes
    Garbage,         // answers in no known protocol
  };
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::vector<std::string> pieces; // instead of body: sent one by one, each a chunk (Chunked)
  milliseconds pace{0};            // between pieces
  Framing framing = Framing::Length;
  Fails fails = Fails::Never;
  std::size_t after = 0;
  std::size_t drip_bytes = 0; // > 0: everything is sent in bits of this size …
  milliseconds drip_every{1}; // … with this much time between
  bool close_after = false;
  bool close_silently = false; // keep-alive is announced, the connection is closed all the same

  static Script json(std::string body, int status = 200);
  static Script events(std::vector<std::string> pieces, milliseconds pace = milliseconds{0});
  static Script html_error(int status);
  static Script failing(Fails how, std::size_t after = 0);
};

// A certificate authority for one test: `ca_file()` is its certificate as PEM.
class TestAuthority {
 public:
  TestAuthority();
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;
  const std::string& ca_file() const;

 private:
  friend class Imposter;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Imposter {
 public:
  Imposter();                                                        // plain, on 127.0.0.1
  Imposter(const TestAuthority& authority, const std::string& name); // TLS, certificate for `name` (name or address)
  explicit Imposter(const std::string& unix_path);
  ~Imposter();
  Imposter(const Imposter&) = delete;
  Imposter& operator=(const Imposter&) = delete;
  std::uint16_t port() const;
  std::string url(const std::string& path = "") const; // "http://127.0.0.1:port/path"
  Endpoint endpoint() const;

  // Requests whose path or body contains `text` ("" = all) are answered by `script`, `times` times (-1 = always). The
  // rule added last wins. Without any rule: 404.
  void when(const std::string& text, Script script, int times = -1);
  // Answers CONNECT like a proxy by tunnelling to `port` on this machine, or refuses with `status`.
  void tunnel_to(std::uint16_t port, int status = 200);

  struct Seen {
    std::string head, body;
    std::string path() const;
    std::string header(const std::string& name) const;
  };
  std::vector<Seen> seen() const;
  std::size_t connections() const;                               // accepted so far
  bool wait_seen(std::size_t requests, milliseconds most) const; // have so many requests come?
  bool wait_gone(std::size_t connections,
                 milliseconds most) const; // have so many peers hung up during an answer or idle?

  struct Impl; // the connections' own view

 private:
  std::unique_ptr<Impl> impl_;
};

// A port on which nothing listens.
std::uint16_t closed_port();

} // namespace intertie::net
