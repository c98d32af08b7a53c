// The local engine: one supervised llama-server child per model, on a private unix socket. acquire() queues, loads,
// evicts what is idle (draining first, never cutting a running answer) and hands out a Lease; releasing it frees the
// slot. The supervisor runs on a thread of its own (PDEATHSIG follows threads); every method is safe from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/call.hpp"
#include "core/delta.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"
#include "core/task.hpp"

namespace intertie::local {

struct ModelFlags {                     // a person's wishes for one model; every child flag is reachable
  std::uint32_t context = 0;            // 0 = min(model's, 8192)
  std::uint32_t slots = 0;              // 0 = 1
  bool pinned = false;                  // never evicted, never unloaded when idle
  std::optional<seconds> keep_alive{};  // idle time before unload; 0 = at once; negative = never
  std::vector<std::string> arguments{}; // passed to the child as they are, last
};

struct Settings {
  std::string engine;             // path of llama-server, "none", or empty = find it
  std::string data_dir;           // models and engines
  std::string state_dir;          // calibration, slot files
  std::string runtime_dir;        // sockets, mode 0700
  std::uint64_t memory_limit = 0; // for all models together; 0 = 80 % of what is available
  std::uint64_t disk_limit = 0;   // for all pulled models together; 0 = none but the disk's own reserve
  seconds keep_alive{600};
  int threads = 0;                                       // 0 = max(1, cores − 1)
  bool dedicated = false;                                // machine is ours: all cores, spinning
  std::size_t queue_length = 64;                         // waiting asks per model
  std::vector<std::pair<std::string, ModelFlags>> flags; // by model name
  std::vector<std::string> store_dirs;                   // extra folders with .gguf files
  bool import_ollama = true, import_lmstudio = true, import_hf = true;
};

enum class State : std::uint8_t { Stopped, Starting, Probing, Ready, Draining, Failed };
std::string_view to_string(State state);

struct Status {
  ModelFacts facts; // provider "local"; rates and sizes measured or estimated
  State state = State::Stopped;
  std::string file;         // the GGUF
  std::string origin;       // "intertie" "ollama" "lmstudio" "huggingface" "path"
  std::string quantisation; // "Q4_0"
  std::string architecture;
  std::uint64_t parameters = 0;
  std::uint64_t file_bytes = 0;
  bool fits = true;        // could be loaded after evicting everything that may be
  bool calibrated = false; // rates measured on this machine
  double overhead_ms = 0;  // from a request to its first token, apart from reading the prompt
  int pid = 0;
  int running = 0; // answers in progress
  int waiting = 0;
  std::string problem; // why Failed or unusable, with the fix; empty otherwise
};

// Time to the first token of a prompt of so many tokens, loading included when the model is not ready.
milliseconds first_token(const Status& status, std::uint32_t prompt_tokens);

struct Limits; // limits.hpp: the supervisor's times, shortened by tests

// The right to one slot of a ready child. Releasing is automatic.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();
  const std::string& socket() const { return socket_; }
  const Secret& api_key() const { return key_; }
  void progress(); // an event arrived, or we wait for one again: feeds the watchdog (cheap)
  void pausing();  // until the next progress() we don't read (a slow client): no silence of the child
  void refused();  // the child accepted no connection: it is replaced before anyone else gets a slot
  void finished(const Timings& timings); // measured speeds, for the estimates

 private:
  friend class Engines;
  struct Slot;
  std::shared_ptr<Slot> slot_;
  std::string socket_;
  Secret key_;
};

class Engines {
 public:
  static Result<std::unique_ptr<Engines>> start(Settings settings, const Clock& clock);
  static Result<std::unique_ptr<Engines>> start(Settings settings, const Clock& clock, const Limits& limits);
  ~Engines(); // stops and reaps every child

  // Waits in the model's queue until a slot is free, loading the model if need be. Called from an io thread's coroutine and
  // resumed there. Failures: NotFound, Unavailable (Fault::LocalResource: does not fit, engine missing, crashed), Timeout,
  // RateLimited (queue full), Cancelled.
  Task<Result<Lease>> acquire(std::string model, Call& call);

  std::vector<Status> models() const;      // snapshot, cheap
  unsigned version() const;                // changes whenever a condition or a fact in models() does
  void rescan();                           // look at the stores again
  void configure(Settings settings);       // on reload; running children keep their flags until they stop
  Result<> load(const std::string& model); // start loading now (no wait)
  Result<> unload(const std::string& model);

 private:
  class Impl;
  explicit Engines(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace intertie::local
