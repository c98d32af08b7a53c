// Asks a child one question over its unix socket: a connection per question, the whole answer in memory, bounded in time
// and size. For health checks, probes and calibration only; people's requests go through net/. Supervisor thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "core/task.hpp"

namespace intertie::local {

struct ChildAnswer {
  int status = 0;
  std::string body;
};

// A handle to end a question before its answer: call `now` where it is set.
struct Cut {
  std::function<void()> now;
};

// An empty `body` is a GET. Failures: Unavailable (can't connect, cut), Timeout, UpstreamBroken (no HTTP, too large).
Task<Result<ChildAnswer>> ask_child(std::string socket, Secret key, std::string path, std::string body,
                                    milliseconds patience, std::shared_ptr<Cut> cut = {});

} // namespace intertie::local
