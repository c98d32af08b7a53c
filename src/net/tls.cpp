#include "net/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

#include <fmt/format.h>
#include <boost/asio/ip/address.hpp>

namespace intertie::net {
namespace {
bool is_address(const std::string& host) {
  boost::system::error_code error;
  asio::ip::make_address(host, error);
  return !error;
}
std::string library_error() {
  unsigned long code = ERR_get_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown error";
}
} // namespace

struct TlsContexts::Context {
  ~Context() {
    for (auto& [host, session] : sessions) SSL_SESSION_free(session);
    SSL_CTX_free(handle);
  }
  std::string ca_file;
  SSL_CTX* handle = nullptr;
  std::vector<std::pair<std::string, SSL_SESSION*>> sessions; // newest per host, to resume

  // Called by OpenSSL for each ticket of a server; returning 1 keeps the reference.
  static int remember(SSL* ssl, SSL_SESSION* session) {
    auto* self = static_cast<Context*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    const char* host = static_cast<const char*>(SSL_get_app_data(ssl));
    if (self == nullptr || host == nullptr) return 0;
    for (auto& [name, kept] : self->sessions)
      if (name == host) {
        SSL_SESSION_free(std::exchange(kept, session));
        return 1;
      }
    if (self->sessions.size() >= 64) return 0;
    self->sessions.emplace_back(host, session);
    return 1;
  }
};

TlsContexts::TlsContexts() = default;
TlsContexts::~TlsContexts() = default;

Result<TlsContexts::Context*> TlsContexts::context(const std::string& ca_file) {
  for (auto& known : contexts_)
    if (known->ca_file == ca_file) return known.get();
  auto made = std::make_unique<Context>();
  made->ca_file = ca_file;
  made->handle = SSL_CTX_new(TLS_client_method());
  if (made->handle == nullptr) return internal("TLS can't be set up: " + library_error());
  SSL_CTX* handle = made->handle;
  SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
  SSL_CTX_set_verify(handle, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(handle,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(handle, 1);
  SSL_CTX_set_options(handle, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_app_data(handle, made.get());
  SSL_CTX_set_session_cache_mode(handle, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(handle, &Context::remember);
  if (ca_file.empty()) {
    // The hashed folder is read one certificate at a time; the bundle would cost megabytes and milliseconds.
    SSL_CTX_set_default_verify_dir(handle);
    X509_LOOKUP* lookup = X509_STORE_add_lookup(SSL_CTX_get_cert_store(handle), X509_LOOKUP_file());
    if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr && *file != '\0' && lookup != nullptr)
      X509_LOOKUP_load_file(lookup, file, X509_FILETYPE_PEM);
  } else if (SSL_CTX_load_verify_file(handle, ca_file.c_str()) != 1) {
    ERR_clear_error();
    return fail(FailureKind::Unavailable, Fault::LocalResource,
                fmt::format("the CA file {} can't be read as PEM: check its path and content", ca_file));
  }
  contexts_.push_back(std::move(made));
  return contexts_.back().get();
}

Result<std::unique_ptr<TlsSession>> TlsContexts::session(const std::string& ca_file, const std::string& host, int fd) {
  TRY(Context * context_of_file, context(ca_file));
  SSL* ssl = SSL_new(context_of_file->handle);
  if (ssl == nullptr) return internal("TLS can't be set up: " + library_error());
  auto session = std::make_unique<TlsSession>(ssl, host);
  bool ready = SSL_set_fd(ssl, fd) == 1;
  if (is_address(host)) {
    ready = ready && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
  } else {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    ready = ready && SSL_set1_host(ssl, host.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
  }
  if (!ready) return internal("TLS can't be set up: " + library_error());
  SSL_set_connect_state(ssl);
  for (auto& [known, kept] : context_of_file->sessions)
    if (known == host) SSL_set_session(ssl, kept);
  return session;
}

TlsSession::TlsSession(ssl_st* ssl, std::string host) : ssl_(ssl), host_(std::move(host)) {
  SSL_set_app_data(ssl_, host_.data());
}
TlsSession::~TlsSession() { SSL_free(ssl_); }

TlsSession::Want TlsSession::want(int result) const {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ: return Want::Read;
    case SSL_ERROR_WANT_WRITE: return Want::Write;
    case SSL_ERROR_ZERO_RETURN: return Want::End;
    default: return Want::Broken;
  }
}

TlsSession::Want TlsSession::handshake() {
  ERR_clear_error();
  int result = SSL_do_handshake(ssl_);
  return result == 1 ? Want::Nothing : want(result);
}

TlsSession::Moved TlsSession::read(char* to, std::size_t most) {
  ERR_clear_error();
  int result = SSL_read(ssl_, to, static_cast<int>(std::min<std::size_t>(most, INT_MAX)));
  if (result > 0) return {static_cast<std::size_t>(result), Want::Nothing};
  return {0, want(result)};
}

TlsSession::Moved TlsSession::write(const char* from, std::size_t size) {
  ERR_clear_error();
  int result = SSL_write(ssl_, from, static_cast<int>(std::min<std::size_t>(size, INT_MAX)));
  if (result > 0) return {static_cast<std::size_t>(result), Want::Nothing};
  return {0, want(result)};
}

std::string TlsSession::handshake_error() const {
  long verdict = SSL_get_verify_result(ssl_);
  if (verdict == X509_V_OK) return "the TLS handshake failed: " + library_error();
  ERR_clear_error();
  std::string_view fix;
  switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: fix = "use the name that the certificate was made for"; break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID: fix = "check this machine's clock, or renew the server's certificate"; break;
    default: fix = "for a private CA name its PEM file with ca_file"; break;
  }
  return fmt::format("its TLS certificate is not trusted ({}): {}", X509_verify_cert_error_string(verdict), fix);
}
} // namespace intertie::net
