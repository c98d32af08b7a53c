#include <benchmark/benchmark.h>

#include <string>

#include "guard/scan.hpp"

namespace intertie::guard {
namespace {
// Prose with some numbers, as a prompt holds; nothing that triggers a finding.
std::string prose(std::size_t size) {
  const std::string_view sentence =
      "The committee met on 12 March 2024 and, after a long debate, asked 3 of its members to draft a plan: who does "
      "what, "
      "by when, and at what cost (between 40 and 55 thousand). Skills matter; so does good taste. ";
  std::string text;
  while (text.size() < size) text += sentence;
  text.resize(size);
  return text;
}
void Scan(benchmark::State& state) {
  auto text = prose(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(scan_text(text));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Scan)->Arg(256)->Arg(4 << 10)->Arg(64 << 10);

// Every newline is an escape, as in a real body: decoding comes first.
void ScanEscaped(benchmark::State& state) {
  auto text = prose(4 << 10);
  for (std::size_t i = 80; i + 1 < text.size(); i += 80) text.replace(i, 2, "\\n");
  Ask ask;
  ask.body = text;
  ask.texts = {{0, static_cast<std::uint32_t>(text.size()), Position::User, true}};
  for (auto _ : state) benchmark::DoNotOptimize(scan(ask));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(ScanEscaped);

void EachDetector(benchmark::State& state) {
  auto text = prose(64 << 10);
  auto rows = detectors().subspan(static_cast<std::size_t>(state.range(0)), 1);
  for (auto _ : state) benchmark::DoNotOptimize(scan_text(text, rows));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
  state.SetLabel(std::string(rows[0].name));
}
BENCHMARK(EachDetector)->DenseRange(0, static_cast<std::int64_t>(detectors().size()) - 1);
} // namespace
} // namespace intertie::guard
