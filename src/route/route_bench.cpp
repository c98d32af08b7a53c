// decide() with 10, 100 and 1,000 candidates: at most 5 µs at 10, and linear from there.
#include <benchmark/benchmark.h>

#include "route/decide.hpp"

namespace intertie::route {
namespace {
struct World {
  std::vector<ModelFacts> models;
  std::vector<Candidate> candidates;
  explicit World(std::size_t size) : models(size) {
    for (std::size_t i = 0; i < size; ++i) {
      auto& m = models[i];
      m.provider = i % 3 == 0 ? "local" : i % 3 == 1 ? "office" : "openai";
      m.name = "a-model-with-a-usual-name-" + std::to_string(i);
      m.place = static_cast<Place>(i % 3);
      m.trust = i % 3 == 0 ? Trust::T0 : i % 3 == 1 ? Trust::T1 : Trust::T4;
      m.context = 8192;
      m.quality = static_cast<int>(i % 97);
      m.price = {150'000, 75'000, 600'000, true};
      candidates.push_back({&m, Condition::Ready, static_cast<std::uint16_t>(i)});
    }
  }
};
void run(benchmark::State& state, std::string_view name) {
  World world(static_cast<std::size_t>(state.range(0)));
  const std::vector<std::string> providers{"local", "office", "openai"};
  Policy policy;
  Signals signals;
  signals.prompt_tokens = 500;
  std::function<DataClass()> clean = [] { return DataClass::C0; };
  for (auto _ : state) {
    signals.wish = parse_model_name(name, providers);
    benchmark::DoNotOptimize(decide(signals, policy, world.candidates, clean));
  }
  state.SetComplexityN(state.range(0));
}
BENCHMARK_CAPTURE(run, auto, "auto") -> Arg(10) -> Arg(100) -> Arg(1000);
BENCHMARK_CAPTURE(run, named, "local/a-model-with-a-usual-name-0")->Arg(10)->Arg(100)->Arg(1000);
} // namespace
} // namespace intertie::route
