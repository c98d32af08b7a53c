// Whether this machine is too crowded for the threads an engine was given. With more threads than free cores its barriers
// wait for whoever was put aside, and it becomes many times slower than with fewer. Told by two signs at once: answers far
// below the speed that was measured here, and the kernel's own account of tasks that wait for a processor. Values only,
// apart from reading the kernel's file; supervisor thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/delta.hpp"

namespace intertie::local {

inline constexpr const char* kCpuPressure = "/proc/pressure/cpu";
inline constexpr double kHighPressure = 40; // per cent of the last 10 s in which some task waited for a processor
inline constexpr double kLowPressure = 10;  // then all threads again, at the child's next start

// "some avg10=…" of Documentation/accounting/psi.rst; nothing where the kernel doesn't say.
std::optional<double> read_pressure(std::string_view text);
std::optional<double> cpu_pressure(const std::string& file = kCpuPressure);

// Counts answers in a row that were below a quarter of the calibrated speed while the pressure was high.
class Crowding {
 public:
  static constexpr int kInARow = 3;
  static constexpr double kSlow = 0.25;
  // `calibrated`: tokens/s, 0 = not measured yet. True: this answer says nothing of the model's speed.
  bool saw(const Timings& timings, double calibrated, std::optional<double> pressure);
  bool crowded() const { return slow_ >= kInARow; }
  void forget() { slow_ = 0; }

 private:
  int slow_ = 0;
};

// A child's threads for reading one token and for reading a batch.
struct Threads {
  int one = 1;
  int batch = 1;
  bool operator==(const Threads&) const = default;
};
Threads halved(Threads threads); // never below one

} // namespace intertie::local
