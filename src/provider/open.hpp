// Opens an answer: one Cleared Ask to one target, back as a Stream of Deltas. The only way out of the process for a
// prompt, and it takes nothing but a Cleared. Adds what the target wants (model name, quirks, our own stream options),
// sends no header of the client's. One Opener per Worker; one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/call.hpp"
#include "core/delta.hpp"
#include "core/stream.hpp"
#include "guard/clear.hpp"
#include "net/client.hpp"
#include "provider/spec.hpp"

namespace intertie::provider {

// A slot on a supervised child, held while the answer runs.
class LocalSlot {
 public:
  virtual ~LocalSlot() = default;
  virtual const std::string& socket() const = 0;
  virtual const Secret& api_key() const = 0;
  virtual void progress() = 0;                       // an event came, or we wait for one: the watchdog's food
  virtual void pausing() = 0;                        // the client is slow: until progress() silence is ours
  virtual void refused() = 0;                        // no connection was accepted: the child must be replaced
  virtual void finished(const Timings& timings) = 0; // measured speeds
};
using AcquireLocal = std::function<Task<Result<std::unique_ptr<LocalSlot>>>(std::string model, Call& call)>;

// A provider made ready for sending: its request head is written once.
class Remote {
 public:
  explicit Remote(Provider provider);
  const Provider& provider() const { return provider_; }
  // Request line and fixed headers; Azure's path holds the deployment's name.
  std::string_view head(std::string_view model, std::string& scratch) const;

 private:
  std::string head_for(std::string_view path) const;
  Provider provider_;
  Secret head_;
};

struct Target {
  const Remote* remote = nullptr; // nullptr: the supervised local engine
  std::string_view model;         // the provider's own name
  Trust trust = Trust::T0;
  Cap caps = Cap::None;   // what it offers; asked of the local engine only
  milliseconds budget{0}; // this leg's share of the deadline, for the first byte
};

class Opener {
 public:
  Opener(net::Client& client, AcquireLocal acquire_local);
  Task<Result<Stream<Delta>>> open(guard::Cleared cleared, Target target, Call& call);
  Task<Result<>> pause(milliseconds time, Call& call) { return client_.pause(time, call); } // before a second try

 private:
  Task<Result<Stream<Delta>>> open_local(const Ask& ask, Target target, Call& call);
  Task<Result<Stream<Delta>>> open_remote(const Ask& ask, Target target, Call& call);
  net::Client& client_;
  AcquireLocal acquire_local_;
};

// An upstream's error answer as a Failure (the taxonomy's table). `provider` names it for the person.
Failure classify(std::string_view provider, int status, std::string_view content_type, std::string_view retry_after,
                 std::string_view body);

// The outgoing body for the local engine: always a stream with progress, explicit max_tokens, no choice of ours hidden.
inline constexpr std::uint32_t kLocalMaxTokens = 4096;

} // namespace intertie::provider
