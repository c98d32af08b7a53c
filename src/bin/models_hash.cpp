#include "bin/models_hash.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "core/text.hpp"

namespace intertie::bin {

std::string hash_file_of(const std::string& model_file) { return model_file + ".sha256"; }

bool valid_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

Result<> record_hash(const std::string& model_file, std::string_view sha256) {
  CHECK(valid_sha256(sha256));
  auto file = hash_file_of(model_file), half = file + ".part";
  // Two spaces: what sha256sum writes for a file read as text.
  std::ofstream out(half, std::ios::trunc);
  out << text::lower(sha256) << "  " << std::filesystem::path(model_file).filename().string() << '\n';
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(half, file, error);
  if (!out || error)
    return fail(FailureKind::Denied, Fault::LocalResource,
                fmt::format("can't keep the hash in {}: {}", file, error ? error.message() : "writing failed"));
  return {};
}

Result<std::string> recorded_hash(const std::string& model_file) {
  auto file = hash_file_of(model_file);
  std::ifstream in(file);
  if (!in) return std::string{};
  std::string word(64, '\0');
  in.read(word.data(), 64);
  if (in.gcount() != 64 || !valid_sha256(word))
    return bad_request(fmt::format("{} holds no SHA-256", file), "bad_hash_file");
  return text::lower(word);
}

} // namespace intertie::bin
