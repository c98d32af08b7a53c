// Certificates for tests, made with OpenSSL at run time: a CA of its own per TestAuthority and one server certificate per
// Imposter. Not for production: keys live a day and in a temporary file.
#pragma once

#include <string>

#include "net/imposter.hpp"

struct ssl_ctx_st;
struct evp_pkey_st;
struct x509_st;

namespace intertie::net {
struct TestAuthority::Impl {
  Impl();
  ~Impl();
  ssl_ctx_st* server_context(const std::string& name) const; // certificate for `name`, signed by us
  evp_pkey_st* key = nullptr;
  x509_st* certificate = nullptr;
  std::string file;
};
} // namespace intertie::net
