// The hashes Intertie keeps of its models: one `NAME.gguf.sha256` beside the file or the link, in the format of
// sha256sum, so that `sha256sum -c` reads it too. Not for models of other programs' stores. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"

namespace intertie::bin {

std::string hash_file_of(const std::string& model_file); // "…/x.gguf" → "…/x.gguf.sha256"
Result<> record_hash(const std::string& model_file, std::string_view sha256);
// Empty when none is kept. BadRequest when what is there is no hash.
Result<std::string> recorded_hash(const std::string& model_file);
bool valid_sha256(std::string_view text); // 64 hex digits, any case

} // namespace intertie::bin
