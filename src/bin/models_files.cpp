#include "bin/models_files.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "bin/models_hash.hpp"
#include "local/gguf.hpp"

namespace intertie::bin {
namespace {
namespace fs = std::filesystem;

} // namespace

std::vector<std::string> model_parts(const std::string& file) {
  constexpr std::uint32_t kMostParts = 1000; // a name is no reason to make a million paths
  auto split = local::split_name(fs::path(file).filename().string());
  if (!split || split->parts > kMostParts) return {file};
  std::vector<std::string> parts;
  for (std::uint32_t part = 1; part <= split->parts; ++part) parts.push_back(local::part_path(file, part));
  return parts;
}

Result<Removed> remove_model(const std::string& data_dir, const std::string& file) {
  auto own = fs::path(data_dir) / "models";
  std::error_code error;
  // By the folder's own identity, not by its spelling: links and "..".
  if (!fs::equivalent(fs::path(file).parent_path(), own, error) || error)
    return fail(
        FailureKind::Denied, Fault::Client,
        fmt::format(
            "{} isn't Intertie's: it stays. Delete it with the program that brought it, or leave that store out "
            "([local] import_ollama, import_lmstudio, import_hf, stores)",
            file),
        "not_ours");
  Removed out;
  for (const auto& name : model_parts(file)) {
    fs::path part(name);
    auto status = fs::symlink_status(part, error);
    if (status.type() == fs::file_type::not_found) continue;
    bool link = status.type() == fs::file_type::symlink;
    if (!link && status.type() != fs::file_type::regular)
      return fail(FailureKind::Denied, Fault::Client, fmt::format("{} is no file: it stays", part.string()),
                  "not_ours");
    if (link && out.left.empty()) out.left = fs::read_symlink(part, error).string();
    auto size = link ? 0 : fs::file_size(part, error);
    if (!fs::remove(part, error) || error)
      return fail(FailureKind::Denied, Fault::LocalResource,
                  fmt::format("can't delete {}: {}", part.string(), error.message()));
    if (!link) out.deleted += size;
    fs::remove(hash_file_of(name), error);
  }
  return out;
}

} // namespace intertie::bin
