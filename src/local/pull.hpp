// Fetches a model by URL and checks it by hash before it gets its name: resumes what a cut connection left, keeps nothing
// that has the wrong hash, and looks at the room on the disk first. Runs on the io thread of the Client's worker; writes
// to the disk there, which is why it belongs into a command or a worker of its own and not beside people's requests.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/call.hpp"
#include "core/result.hpp"
#include "core/task.hpp"
#include "net/client.hpp"

namespace intertie::local {

struct PullOrder {
  std::string url;    // http or https; redirects are followed, never from https to http
  std::string sha256; // 64 hex digits, required
  std::string name;   // empty = the URL's last part
  std::string data_dir;
  std::uint64_t quota = 0; // bytes that what was pulled into data_dir/models may have together; 0 = no limit
  std::string ca_file;     // private CA, empty = the system's
  int attempts = 5;        // connections that may be cut, each resumed where it ended
};
struct PullProgress {
  std::uint64_t done = 0;
  std::uint64_t total = 0; // 0 = the server doesn't say
};
using OnProgress = std::function<void(const PullProgress&)>;

// The model's name. A file that is there already with this hash is a success without a byte fetched.
// Failures: BadRequest (URL, hash, name; no GGUF), TooLarge (code "over_disk_limit" or "disk_full"; LocalResource), UpstreamRefused (status),
// UpstreamBroken (wrong hash; cut too often), Cancelled, Timeout.
Task<Result<std::string>> pull(net::Client& client, PullOrder order, Call& call, OnProgress on_progress);

} // namespace intertie::local
