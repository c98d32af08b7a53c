#include "local/sha256.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>

namespace intertie::local {
namespace {
constexpr std::size_t kPiece = 1u << 20;
}

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}

void Sha256::add(std::string_view bytes) { CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1); }

std::string Sha256::hex() {
  std::array<unsigned char, 32> digest{};
  CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
  std::string out;
  for (auto byte : digest) out += fmt::format("{:02x}", byte);
  return out;
}

Result<std::string> sha256_file(const std::string& file, const std::function<void(std::uint64_t done)>& progress) {
  int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fail(FailureKind::NotFound, Fault::LocalResource,
                fmt::format("can't open {}: {}", file, std::strerror(errno)));
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  Sha256 hash;
  std::vector<char> piece(kPiece);
  std::uint64_t done = 0;
  for (;;) {
    auto got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      int error = errno;
      ::close(fd);
      return fail(FailureKind::Unavailable, Fault::LocalResource,
                  fmt::format("can't read {}: {}", file, std::strerror(error)));
    }
    if (got == 0) break;
    hash.add({piece.data(), static_cast<std::size_t>(got)});
    done += static_cast<std::uint64_t>(got);
    if (progress) progress(done);
  }
  ::close(fd);
  return hash.hex();
}

} // namespace intertie::local
