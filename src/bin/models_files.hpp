// The files of a model, and what `models rm` may delete of them: what Intertie downloaded and links that it made, in
// its own folder, nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.hpp"

namespace intertie::bin {

// All files of a model: one, or the parts of a split one, of which `file` is the first.
std::vector<std::string> model_parts(const std::string& file);

struct Removed {
  std::uint64_t deleted = 0; // bytes of files that are gone
  std::string left{};        // where the linked file stays; empty when nothing was linked
};
// `file` as the catalogue names it (the first part of a split model: all parts go). Denied for a file that isn't ours,
// with the program whose it is.
Result<Removed> remove_model(const std::string& data_dir, const std::string& file);

} // namespace intertie::bin
