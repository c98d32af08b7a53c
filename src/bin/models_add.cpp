// intertie models add|pull: a model becomes one of ours, checked and with its hash on record; a running daemon hears of it.
#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "bin/daemon_client.hpp"
#include "bin/models_files.hpp"
#include "bin/models_hash.hpp"
#include "bin/models_known.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "core/json.hpp"
#include "core/text.hpp"
#include "local/sha256.hpp"

namespace intertie::bin {
namespace {

namespace fs = std::filesystem;

// The entry of our own folder by that name.
Result<local::Entry> own_entry(const std::string& data_dir, const std::string& name) {
  local::Catalogue catalogue;
  for (auto& entry : catalogue.scan({.own = data_dir + "/models", .extra = {}, .ollama = {}, .lmstudio = {}, .huggingface = {}}))
    if (entry.name == name) return std::move(entry);
  return internal(fmt::format("{} was added but isn't in {}/models", name, data_dir));
}

Result<std::vector<std::string>> hash_parts(const std::vector<std::string>& files) {
  std::vector<std::string> hashes;
  for (const auto& file : files) {
    std::error_code error;
    ProgressBar bar("hashing " + fs::path(file).filename().string(), fs::file_size(file, error));
    TRY(auto hash, local::sha256_file(file, [&bar](std::uint64_t done) { bar.at(done); }));
    bar.end("sha256 " + hash);
    hashes.push_back(std::move(hash));
  }
  return hashes;
}

// Header first (quick), then the hash (slow), then the link: a file that is refused leaves nothing behind.
Result<local::Entry> add_file(const config::Config& config, const std::string& file, const std::string& name) {
  std::error_code error;
  auto real = fs::canonical(file, error).string();
  if (error) return fail(FailureKind::NotFound, Fault::Client, fmt::format("there is no file {}", file));
  TRY(auto model, local::read_gguf(real));
  TRY(auto hashes, hash_parts(model.parts == 1 ? std::vector{real} : model_parts(real)));
  TRY(auto added, local::add_by_path(config.local.data_dir, real, name));
  TRY(auto entry, own_entry(config.local.data_dir, added));
  auto links = model_parts(entry.file);
  for (std::size_t i = 0; i < std::min(links.size(), hashes.size()); ++i) TRY_VOID(record_hash(links[i], hashes[i]));
  return entry;
}

// The daemon looks at the stores again; without one there is nothing to tell.
bool tell_daemon(const config::Config& config) {
  auto answer = ask_daemon(config, {.method = "POST", .path = "/intertie/v1/rescan"});
  return answer && answer->status == 200;
}

int report(const Options& options, const config::Config& config, const local::Entry& entry, std::string_view done) {
  bool told = tell_daemon(config);
  if (options.json) {
    auto models = known_models(config);
    auto model = find_model(models, entry.name);
    if (!model) return complain(model.error());
    fmt::print("{}\n", model_json(**model));
    return kOk;
  }
  fmt::print("{} {}: {}, {} parameters, {}\n", done, paint(Colour::Bold, entry.name), text::human_bytes(entry.model.file_bytes),
             human_parameters(entry.model.parameters), entry.model.quantisation);
  fmt::print("{}\nTry it: intertie ask --model {} \"What is the capital of France?\"\n",
             told ? "The running daemon knows it." : "It is there for the next `intertie serve`.", entry.name);
  return kOk;
}

} // namespace

int models_add(const Options& options, const config::Config& config) {
  auto entry = add_file(config, options.file, options.name);
  if (!entry) return complain(entry.error());
  return report(options, config, *entry, "added");
}

} // namespace intertie::bin
