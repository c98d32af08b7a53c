// Which models are on this machine: our own folder and the stores of Ollama, LM Studio and the Hugging Face cache, used
// where they lie, never copied. Headers are read once per file and remembered by size and time. Any one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "local/engines.hpp"
#include "local/gguf.hpp"

namespace intertie::local {

struct Entry {
  std::string name;           // how clients ask for it
  std::string file;           // the GGUF, or the first part of a split one
  std::string origin;         // "intertie" "path" "ollama" "lmstudio" "huggingface"
  Gguf model;                 // without its tensors
  std::uint64_t repacked = 0; // see fit.hpp
  std::uint64_t size = 0;     // of the first part;
  std::int64_t modified = 0;  // … with this time (ns) it tells whether the file is still the same
  std::string problem;        // why it can't be used; the header is empty then
};

// Where the stores lie, as the environment says.
struct StorePlaces {
  std::string own; // data_dir/models
  std::vector<std::string> extra;
  std::vector<std::string> ollama, lmstudio, huggingface;
};
using Variable = std::function<std::string(const char* name)>; // getenv
StorePlaces store_places(const Settings& settings, const Variable& variable);

class Catalogue {
 public:
  // Looks again; entries in the order of the stores, chat models and broken files only. Every name is unique.
  std::vector<Entry> scan(const StorePlaces& places);

 private:
  struct Found {
    std::string name, file, origin;
    bool broken_is_shown = true; // in the stores of others a file we can't read is not our business
  };
  void add_folder(const std::string& folder, std::string_view origin, int depth, std::vector<Found>& found);
  void add_ollama(const std::string& root, std::vector<Found>& found);
  const Entry* read(const Found& found);

  std::map<std::string, Entry> read_; // by path
};

// The name of a model by its file: "SmolLM2-135M-Instruct.Q4_1.gguf" → "smollm2-135m-instruct.q4_1".
std::string model_name(std::string_view file_name);

// BadRequest unless `name` can be a file's name in data_dir/models.
Result<> check_model_name(std::string_view name);

// Makes a model that lies elsewhere one of ours by a symbolic link (each part of a split one); nothing is copied. An empty
// name takes the file's. Failures: what read_gguf says; BadRequest for a name that is taken or not a file name.
Result<std::string> add_by_path(const std::string& data_dir, const std::string& path, std::string name);

} // namespace intertie::local
