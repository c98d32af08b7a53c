// How the CLI speaks to a running daemon: one request over its unix socket, else over loopback TCP. Blocking for the
// caller; inside it is a Worker of its own that lives as long as the call.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "core/result.hpp"
#include "net/client.hpp"

namespace intertie::bin {

struct Answer {
  int status = 0;
  std::string body;                           // empty when `each` took it
  std::string place, model, decision, reason; // X-Intertie-* of the answer
};
struct DaemonRequest {
  std::string method = "GET";
  std::string path;
  std::string body{};
  std::vector<net::Header> headers{};
  std::function<void(std::string_view bytes)> each{}; // called with the bytes of a 200 answer as they come
  milliseconds limit{0};                              // for the whole call; 0 = the configured request time-out
  std::function<void(const Answer& head)> begun{};    // called once with the head
};
// Unavailable, with how to start the daemon, when nobody listens.
Result<Answer> ask_daemon(const config::Config& config, DaemonRequest request);

// One request to any URL; for `providers test` and `doctor`.
Result<Answer> fetch(const net::Endpoint& endpoint, std::string head, std::string body, milliseconds limit);

} // namespace intertie::bin
