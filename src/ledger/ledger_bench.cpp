// post() is on the request path: at most 0.5 µs, the Receipt's own move included.
#include <benchmark/benchmark.h>

#include <filesystem>

#include <unistd.h>

#include "ledger/ledger.hpp"

namespace intertie::ledger {
namespace {
Receipt usual() { // one of a burst: its Story has been told
  Receipt r;
  r.story_key = 7;
  return r;
}
// In rounds with a flush between them, as requests do; a round is what one flush interval brings.
void post(benchmark::State& state) {
  std::string folder = (std::filesystem::temp_directory_path() / "intertie-bench-XXXXXX").string();
  folder = ::mkdtemp(folder.data());
  auto ledger = Ledger::open(folder + "/receipts.db");
  if (!ledger) return state.SkipWithError(ledger.error().message.c_str());
  constexpr std::size_t kRound = 512;
  std::vector<Receipt> ready;
  for (auto _ : state) {
    if (ready.empty()) {
      state.PauseTiming();
      (*ledger)->flush();
      while (ready.size() < kRound) ready.push_back(usual());
      state.ResumeTiming();
    }
    (*ledger)->post(std::move(ready.back()));
    ready.pop_back();
  }
  ledger->reset();
  std::filesystem::remove_all(folder);
}
BENCHMARK(post)->Iterations(20'000);
} // namespace
} // namespace intertie::ledger
