#include "local/stores.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <simdjson.h>

#include "core/text.hpp"
#include "local/fit.hpp"

namespace intertie::local {
namespace {
namespace fs = std::filesystem;
constexpr int kMostEntries = 50'000; // looked at in one store
constexpr std::uintmax_t kMostManifest = 1u << 20;

std::string model_stem(std::string_view file_name) {
  if (auto split = split_name(file_name)) return split->stem;
  if (file_name.ends_with(".gguf")) file_name.remove_suffix(5);
  return std::string(file_name);
}

// The digest of the layer with the weights: {"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:…"}]}
std::string model_digest(const fs::path& manifest) {
  std::error_code error;
  if (fs::file_size(manifest, error) > kMostManifest || error) return {};
  simdjson::dom::parser parser;
  simdjson::dom::element document;
  simdjson::dom::array layers;
  if (parser.load(manifest.string()).get(document) || document["layers"].get_array().get(layers)) return {};
  for (auto layer : layers) {
    std::string_view type, digest;
    if (layer["mediaType"].get_string().get(type) || layer["digest"].get_string().get(digest)) continue;
    bool hex = digest.starts_with("sha256:") && digest.size() == 71 &&
               digest.substr(7).find_first_not_of("0123456789abcdef") == std::string_view::npos;
    if (type == "application/vnd.ollama.image.model" && hex) return std::string(digest.substr(7));
  }
  return {};
}

// manifests/registry.ollama.ai/library/llama3.2/1b → "llama3.2:1b"; other registries and owners keep their part.
std::string ollama_name(const fs::path& relative) {
  std::vector<std::string> parts;
  for (const auto& part : relative) parts.push_back(part.string());
  if (parts.size() < 2) return {};
  std::string name;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    bool usual = (i == 0 && parts[i] == "registry.ollama.ai") || (i == 1 && parts[i] == "library");
    if (!usual) name += (name.empty() ? "" : "/") + parts[i];
  }
  return text::lower(name + ":" + parts.back());
}
} // namespace

std::string model_name(std::string_view file_name) { return text::lower(model_stem(file_name)); }

StorePlaces store_places(const Settings& settings, const Variable& variable) {
  StorePlaces places;
  places.own = settings.data_dir + "/models";
  places.extra = settings.store_dirs;
  auto home = variable("HOME");
  if (settings.import_ollama) {
    if (auto named = variable("OLLAMA_MODELS"); !named.empty()) places.ollama.push_back(named);
    if (!home.empty()) places.ollama.push_back(home + "/.ollama/models");
    places.ollama.push_back("/usr/share/ollama/.ollama/models");
    places.ollama.push_back("/var/lib/ollama/models");
  }
  if (settings.import_lmstudio && !home.empty())
    places.lmstudio = {home + "/.lmstudio/models", home + "/.cache/lm-studio/models"};
  if (settings.import_hf) {
    auto hub = variable("HF_HUB_CACHE"), root = variable("HF_HOME"), cache = variable("XDG_CACHE_HOME");
    if (hub.empty() && !root.empty()) hub = root + "/hub";
    if (hub.empty() && !cache.empty()) hub = cache + "/huggingface/hub";
    if (hub.empty() && !home.empty()) hub = home + "/.cache/huggingface/hub";
    if (!hub.empty()) places.huggingface.push_back(hub);
  }
  return places;
}

void Catalogue::add_folder(const std::string& folder, std::string_view origin, int depth, std::vector<Found>& found) {
  std::error_code error;
  fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error), end;
  std::vector<Found> here;
  for (int looked = 0; !error && at != end && looked < kMostEntries; at.increment(error), ++looked) {
    if (at.depth() >= depth) at.disable_recursion_pending();
    auto file_name = at->path().filename().string();
    if (!file_name.ends_with(".gguf") || file_name.starts_with(".")) continue;
    if (auto split = split_name(file_name); split && split->part != 1) continue;
    std::string from(origin);
    if (origin == "intertie" && at->is_symlink(error)) from = "path";
    here.push_back({model_name(file_name), at->path().string(), from, origin == "intertie" || origin == "path"});
  }
  std::ranges::sort(here, {}, &Found::file); // folders come in no order
  std::ranges::move(here, std::back_inserter(found));
}

void Catalogue::add_ollama(const std::string& root, std::vector<Found>& found) {
  std::error_code error;
  auto manifests = fs::path(root) / "manifests";
  fs::recursive_directory_iterator at(manifests, fs::directory_options::skip_permission_denied, error), end;
  std::vector<Found> here;
  for (int looked = 0; !error && at != end && looked < kMostEntries; at.increment(error), ++looked) {
    if (at.depth() >= 6) at.disable_recursion_pending();
    if (!at->is_regular_file(error)) continue;
    auto digest = model_digest(at->path());
    auto name = ollama_name(at->path().lexically_relative(manifests));
    if (!digest.empty() && !name.empty())
      here.push_back({name, (fs::path(root) / "blobs" / ("sha256-" + digest)).string(), "ollama", false});
  }
  std::ranges::sort(here, {}, &Found::name);
  std::ranges::move(here, std::back_inserter(found));
}

const Entry* Catalogue::read(const Found& found) {
  struct stat facts{};
  bool there = ::stat(found.file.c_str(), &facts) == 0;
  auto modified = facts.st_mtim.tv_sec * 1'000'000'000LL + facts.st_mtim.tv_nsec;
  auto size = static_cast<std::uint64_t>(facts.st_size);
  auto& entry = read_[found.file];
  if (there && entry.file == found.file && entry.modified == modified && entry.size == size && entry.problem.empty()) {
    entry.name = found.name;
    return &entry;
  }
  entry = Entry{found.name, found.file, found.origin, {}, 0, size, modified, {}};
  auto model = read_gguf(found.file);
  if (!model) {
    entry.problem = model.error().message;
  } else {
    entry.repacked = repacked_bytes(*model, cpu_features());
    model->tensors = {};
    entry.model = *std::move(model);
  }
  return &entry;
}

std::vector<Entry> Catalogue::scan(const StorePlaces& places) {
  std::vector<Found> found;
  add_folder(places.own, "intertie", 1, found);
  for (const auto& folder : places.extra) add_folder(folder, "path", 6, found);
  for (const auto& root : places.ollama) add_ollama(root, found);
  for (const auto& folder : places.lmstudio) add_folder(folder, "lmstudio", 6, found);
  for (const auto& folder : places.huggingface) add_folder(folder, "huggingface", 6, found);

  std::vector<Entry> out;
  std::set<std::string> names, files;
  for (const auto& one : found) {
    std::error_code error;
    auto real = fs::canonical(one.file, error); // two stores may link to one file
    if (!error && !files.insert(real.string()).second) continue;
    const auto* entry = read(one);
    if (!entry->problem.empty() && !one.broken_is_shown) continue;
    if (entry->problem.empty() && entry->model.use != GgufUse::Chat) continue;
    auto copy = *entry;
    if (!names.insert(copy.name).second) {
      auto base = copy.name + "@" + copy.origin;
      copy.name = base;
      for (int n = 2; !names.insert(copy.name).second; ++n) copy.name = fmt::format("{}-{}", base, n);
    }
    out.push_back(std::move(copy));
  }
  std::erase_if(read_, [&](const auto& item) {
    return std::ranges::none_of(found, [&](const Found& one) { return one.file == item.first; });
  });
  return out;
}

Result<> check_model_name(std::string_view name) {
  auto odd = [](char c) { return static_cast<unsigned char>(c) < 0x21 || c == '/' || c == '\\' || c == 0x7F; };
  if (name.empty() || name.starts_with(".") || name.size() > 128 || std::ranges::any_of(name, odd))
    return bad_request(
        fmt::format("\"{}\" can't be a model's name: letters, digits, '.', '-' and '_' can", name.substr(0, 128)));
  return {};
}

Result<std::string> add_by_path(const std::string& data_dir, const std::string& path, std::string name) {
  std::error_code error;
  auto real = fs::canonical(path, error);
  if (error) return fail(FailureKind::NotFound, Fault::Client, fmt::format("there is no file {}", path));
  TRY(auto model, read_gguf(real.string()));
  if (model.use != GgufUse::Chat)
    return bad_request(fmt::format("{} is not a model to talk to: it is a {}", path,
                                   model.use == GgufUse::Embedding ? "model for embeddings"
                                   : model.use == GgufUse::Projector
                                       ? "projector for images, a companion of another file"
                                   : model.use == GgufUse::Adapter ? "adapter for another model"
                                                                   : "vocabulary without weights"));
  if (name.empty()) name = model_stem(real.filename().string());
  TRY_VOID(check_model_name(name));
  auto folder = fs::path(data_dir) / "models";
  fs::create_directories(folder, error);
  for (std::uint32_t part = 1; part <= model.parts; ++part) {
    auto from = model.parts == 1 ? real.string() : part_path(real.string(), part);
    auto to =
        folder / (model.parts == 1 ? name + ".gguf" : fmt::format("{}-{:05}-of-{:05}.gguf", name, part, model.parts));
    if (fs::equivalent(to, from, error)) continue; // already ours
    fs::create_symlink(from, to, error);
    if (error)
      return bad_request(
          fmt::format("can't add the model as {}: {}", to.string(),
                      error == std::errc::file_exists ? "the name is taken, give another" : error.message()));
  }
  return text::lower(name);
}
} // namespace intertie::local
