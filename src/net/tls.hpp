// TLS to upstreams with OpenSSL 3 directly on the socket's fd: no BIO pairs, no second buffer. TLS 1.2 and later, the
// certificate and the host name are always verified. Contexts are made when first needed, one per CA file. One io thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/task.hpp"
#include "net/socket.hpp"

struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;

namespace intertie::net {

class TlsSession;

class TlsContexts {
 public:
  TlsContexts();
  ~TlsContexts();
  // `ca_file` empty: the system's store. Fails when the file can't be read.
  Result<std::unique_ptr<TlsSession>> session(const std::string& ca_file, const std::string& host, int fd);

 private:
  struct Context;
  Result<Context*> context(const std::string& ca_file);
  std::vector<std::unique_ptr<Context>> contexts_;
};

class TlsSession {
 public:
  TlsSession(ssl_st* ssl, std::string host);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  enum class Want : std::uint8_t { Nothing, Read, Write, End, Broken };
  struct Moved {
    std::size_t bytes;
    Want want; // Nothing: `bytes` were moved
  };
  Want handshake();
  Moved read(char* to, std::size_t most);
  Moved write(const char* from, std::size_t size);
  std::string handshake_error() const; // for a person: what is wrong with the certificate, and the fix

 private:
  Want want(int result) const;
  ssl_st* ssl_;
  std::string host_; // under which its tickets are kept
};

} // namespace intertie::net
