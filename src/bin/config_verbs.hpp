// The part of `intertie config init` that touches the disk: a file written whole or not at all, mode 0600, in a folder
// made for it; an existing one is kept, or put aside when that was asked for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace intertie::bin {

enum class Existing : std::uint8_t { Keep, Replace };
// Where the old file was put, empty when there was none. BadRequest (code "exists") for Keep and an existing file;
// Denied when it can't be written.
Result<std::string> write_sample(const std::string& file, std::string_view text, Existing existing);

} // namespace intertie::bin
