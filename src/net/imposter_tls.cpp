#include "net/imposter_tls.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>
#include <boost/asio/ip/address.hpp>

#include "core/task.hpp"

namespace intertie::net {
namespace {
void extend(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  CHECK(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* make_certificate(const std::string& name, EVP_PKEY* key, long serial) {
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return certificate;
}
std::atomic<int> next_serial{1};
} // namespace

TestAuthority::Impl::Impl() : key(EVP_EC_gen("P-256")) {
  int serial = next_serial++;
  certificate = make_certificate(fmt::format("Intertie test authority {}", serial), key, serial);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
  extend(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  X509_sign(certificate, key, EVP_sha256());
  file = std::filesystem::temp_directory_path() / fmt::format("intertie-test-ca-{}-{}.pem", ::getpid(), serial);
  std::FILE* out = std::fopen(file.c_str(), "w");
  CHECK(out != nullptr);
  PEM_write_X509(out, certificate);
  std::fclose(out);
}

TestAuthority::Impl::~Impl() {
  ::unlink(file.c_str());
  X509_free(certificate);
  EVP_PKEY_free(key);
}

SSL_CTX* TestAuthority::Impl::server_context(const std::string& name) const {
  EVP_PKEY* server_key = EVP_EC_gen("P-256");
  X509* server = make_certificate(name, server_key, next_serial++);
  X509_set_issuer_name(server, X509_get_subject_name(certificate));
  boost::system::error_code no_address;
  asio::ip::make_address(name, no_address);
  extend(server, certificate, NID_subject_alt_name, (no_address ? "DNS:" : "IP:") + name);
  extend(server, certificate, NID_ext_key_usage, "serverAuth");
  X509_sign(server, key, EVP_sha256());
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_use_certificate(context, server);
  SSL_CTX_use_PrivateKey(context, server_key);
  X509_free(server);
  EVP_PKEY_free(server_key);
  return context;
}

TestAuthority::TestAuthority() : impl_(std::make_unique<Impl>()) {}
TestAuthority::~TestAuthority() = default;
const std::string& TestAuthority::ca_file() const { return impl_->file; }
} // namespace intertie::net
