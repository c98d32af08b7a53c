// The hashes Intertie keeps of its models: one `NAME.gguf.sha256` beside the file or the link, in the format of sha256sum,
// so that `sha256sum -c` reads it too. Not for models of other programs' stores. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/result.hpp"

namespace intertie::bin {

using Progress = std::function<void(std::uint64_t done)>;

std::string hash_file_of(const std::string& model_file);               // "…/x.gguf" → "…/x.gguf.sha256"
Result<> record_hash(const std::string& model_file, const std::string& sha256);
// Empty when none is kept. BadRequest when what is there is no hash.
Result<std::string> recorded_hash(const std::string& model_file);
// 64 hex digits of the file's bytes.
Result<std::string> sha256_of(const std::string& file, const Progress& progress = {});

} // namespace intertie::bin
