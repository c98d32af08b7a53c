// The part of `intertie config init` and `intertie set` that touches the disk: a file written whole or not at all, mode 0600, in a folder
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

// Puts `text` in the place of `before` (empty: no file yet) in one step; the file keeps its mode, and a link goes on
// pointing to it. BadRequest (code "changed_meanwhile") when the file holds something else by now; Denied when it can't be
// written.
Result<> replace_config(const std::string& file, std::string_view before, std::string_view text);

} // namespace intertie::bin
