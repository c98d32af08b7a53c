// The supervisor's times, gathered so that tests can shorten them. The defaults are the design's.
#pragma once

#include <string>

#include "core/clock.hpp"
#include "local/pressure.hpp"

namespace intertie::local {
struct Limits {
  milliseconds start{10'000}; // plus the file's size / 100 MB/s
  milliseconds probe{20'000}; // for each question of the probe
  milliseconds health_every{2'000};
  milliseconds health_patience{2'000};
  int health_misses = 3;
  milliseconds stall{20'000};    // without an event; or five times the predicted time of a batch
  milliseconds suspect{5'000};   // an abandoned slot must be idle by then
  milliseconds terminate{2'000}; // between SIGTERM, SIGTERM and SIGKILL
  bool calibrate = true;
  std::string cpu_pressure = kCpuPressure; // the kernel's file
};
} // namespace intertie::local
