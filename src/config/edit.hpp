// Changes one value in the text of a configuration and nothing else: comments, order and spacing stay as a person wrote
// them. Finds the place by the positions that the parser gives and then parses its own result: what isn't exactly the old
// configuration with that one value changed is refused, so that an odd way of writing costs a message and never a file.
// Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"

namespace intertie::config {

using KeyPath = std::vector<std::string>; // {"local", "model", "tiny", "context"}

// "local.keep_alive", "policy.matrix.C2", or "MODEL.FLAG" for the local model of that name: everything before the last
// dot, with FLAG a key of [local.model."…"] or, beyond those, any long flag of llama-server. BadRequest with what was
// perhaps meant; `models` are the names that are known.
struct EditKey {
  KeyPath path;
  std::string flag; // "--temp": a word of the model's `arguments`, path ends in "arguments"; empty otherwise
};
Result<EditKey> parse_edit_key(std::string_view key, const std::vector<std::string>& models);
std::vector<std::string> settable_keys(); // "server.listen" …, for completion and suggestions

struct Edit {
  std::string text;   // the whole file
  std::string before; // the value as it was written; empty: none
  std::string after;  // as it is written now; empty: taken out
  int line = 0;       // of the new file, from 1; where it stood when it was taken out
  std::string key;    // in full: local.model."tiny".context
};
// `value` as a person types it: TOML, or a bare word or list ("6 GB", "a,b") that is then quoted; nullopt takes the key
// out. The result is checked as the daemon would, with `environment`. BadRequest with file, line, and the fix.
Result<Edit> edit_config(std::string_view text, std::string_view file, const EditKey& key,
                         std::optional<std::string_view> value, const Environment& environment);

} // namespace intertie::config
