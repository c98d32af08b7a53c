// SHA-256 of whole files, as hex digits: for models that are added by path and for comparing with what was recorded.
// Blocking; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/result.hpp"

namespace intertie::local {

// 64 hex digits of the file's bytes; `progress` is called with the bytes read so far. NotFound when it can't be opened,
// Unavailable (Fault::LocalResource) when it can't be read to its end.
Result<std::string> sha256_file(const std::string& file, const std::function<void(std::uint64_t done)>& progress = {});

} // namespace intertie::local
