// How fast a model is here: guessed from its size and this machine's memory before anything is known, then measured: by
// one short run when a child is first ready and by every answer's own timings after that. Kept on disk, keyed by what
// the speed depends on. Values only, apart from load/save; supervisor thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/delta.hpp"
#include "core/result.hpp"
#include "local/gguf.hpp"

namespace intertie::local {

struct Rates {
  double prompt = 0;      // tokens/s
  double output = 0;      // tokens/s
  double overhead_ms = 0; // from a request to the first token, apart from reading the prompt
  double load_seconds = 0;
  std::uint64_t resident = 0; // measured after the first answer; 0 = unknown
  std::uint32_t context = 0;  // tokens per slot and slots `resident` was measured with
  std::uint32_t slots = 0;
  bool measured = false; // prompt and output come from this machine
};

// What a model's speed depends on: the file (size and time), the threads, the engine.
std::string rates_key(const std::string& file, std::uint64_t size, std::int64_t modified, int threads,
                      const std::string& engine);

// Bytes/s that one core reads from memory that is in no cache: measured once (some 5 ms).
double memory_bandwidth();
Rates guess_rates(const Gguf& model, int threads, double bandwidth);
// What the engine says of an answer in its last event: the object after "timings". Zeros when it says nothing.
Timings timings_in(std::string_view body);
// Folds an answer's timings in; too short ones tell nothing and are passed over. True when something changed.
bool learn(Rates& rates, const Timings& timings);
// Time to the first token of an answer of a child that is ready.
milliseconds first_token(const Rates& rates, std::uint32_t prompt_tokens);

class RateBook {
 public:
  explicit RateBook(std::string file) : file_(std::move(file)) {}
  void load();           // a file that is missing or broken is no rates
  Result<> save() const; // atomically
  const Rates* find(const std::string& key) const;
  void put(const std::string& key, const Rates& rates) { rates_[key] = rates; }

 private:
  std::string file_;
  std::map<std::string, Rates> rates_;
};

} // namespace intertie::local
