#include "local/sha256.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

namespace intertie::local {
namespace {
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
constexpr std::size_t kPiece = 1u << 20;
} // namespace

Result<std::string> sha256_file(const std::string& file, const std::function<void(std::uint64_t done)>& progress) {
  int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fail(FailureKind::NotFound, Fault::LocalResource,
                fmt::format("can't open {}: {}", file, std::strerror(errno)));
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  CHECK(context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
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
    CHECK(EVP_DigestUpdate(context.get(), piece.data(), static_cast<std::size_t>(got)) == 1);
    done += static_cast<std::uint64_t>(got);
    if (progress) progress(done);
  }
  ::close(fd);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(context.get(), digest.data(), &size) == 1);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

} // namespace intertie::local
