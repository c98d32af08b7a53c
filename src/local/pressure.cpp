#include "local/pressure.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace intertie::local {
namespace {
constexpr std::uint32_t kFewestTokens = 4; // fewer tell nothing
}

std::optional<double> read_pressure(std::string_view text) {
  constexpr std::string_view kSome = "some avg10=";
  if (!text.starts_with(kSome)) return std::nullopt;
  std::string number(text.substr(kSome.size(), text.find_first_of(" \n", kSome.size()) - kSome.size()));
  char* end = nullptr;
  double value = std::strtod(number.c_str(), &end);
  if (number.empty() || end != number.c_str() + number.size() || !(value >= 0 && value <= 100)) return std::nullopt;
  return value;
}

std::optional<double> cpu_pressure(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  return read_pressure(line);
}

bool Crowding::saw(const Timings& timings, double calibrated, std::optional<double> pressure) {
  if (calibrated <= 0 || timings.output_tokens < kFewestTokens || timings.output_ms <= 0) return false;
  bool slow = timings.output_tokens * 1000.0 / timings.output_ms < kSlow * calibrated;
  bool crowd = slow && pressure && *pressure >= kHighPressure;
  slow_ = crowd ? slow_ + 1 : 0;
  return crowd;
}

Threads halved(Threads threads) {
  int one = std::max(1, threads.one / 2);
  return {one, std::max(one, threads.batch / 2)};
}
} // namespace intertie::local
