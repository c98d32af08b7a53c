// Host names to addresses, off the io thread (Asio's resolver), with a short cache per Worker: 60 s for answers, 2 s for
// failures, so that a dead name server is not asked for every request. One io thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "core/call.hpp"
#include "core/result.hpp"
#include "core/task.hpp"
#include "net/worker_core.hpp"

namespace intertie::net {

class Dns {
 public:
  using Addresses = std::vector<asio::ip::address>;
  explicit Dns(Worker::Core& worker) : worker_(worker), resolver_(worker.context.get_executor()) {}
  // What needs no question: an IP address, localhost, or a name whose answer is still fresh.
  std::optional<Result<Addresses>> known(const std::string& host);
  Task<Result<Addresses>> ask(std::string host, TimePoint deadline, Cancellation& cancellation);

 private:
  struct Question;
  struct Answer {
    Addresses addresses; // empty: it failed
    std::string error;
    TimePoint expires;
  };
  Result<Addresses> result_of(const Answer& answer, const std::string& host) const;
  Worker::Core& worker_;
  asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver_;
  std::map<std::string, Answer> cache_;
};

} // namespace intertie::net
