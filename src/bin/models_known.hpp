// What is known about the models of this machine: the stores' own scan with predicted memory and speed, and over it
// what a running daemon says about their states. Works with and without a daemon. Reads headers, never weights. One
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "core/result.hpp"
#include "local/arguments.hpp"
#include "local/calibrate.hpp"
#include "local/fit.hpp"
#include "local/stores.hpp"

namespace intertie::bin {

struct KnownModel {
  std::string name, file, origin, quantisation, architecture, state = "stopped", problem;
  std::uint64_t parameters = 0;
  std::uint64_t file_bytes = 0;
  std::uint32_t trained_context = 0;
  std::uint64_t memory = 0; // what it holds, or would hold
  bool fits = true;         // into what models may use together
  local::Rates rates{};
  local::ChildPlan plan{};
  local::Fit fit{};
  bool scanned = false; // found here; else only the daemon knows it, and plan and fit are empty
  int pid = 0;
  int running = 0;
  int waiting = 0;
};
struct KnownModels {
  std::vector<KnownModel> list;
  bool daemon = false; // states come from a running daemon
  std::string engine;  // program; empty: `engine_problem`
  std::string engine_problem;
  std::uint64_t budget = 0; // bytes that models may use together
};

// The stores, scanned now.
KnownModels scan_models(const local::Settings& settings, const local::Variable& variable, int cores);
// Lays the daemon's /intertie/v1/status over it; models that only the daemon sees are added.
void overlay_status(KnownModels& models, std::string_view status_json);
// Both: the second only when a daemon runs.
KnownModels known_models(const config::Config& config);

// NotFound with the names that were perhaps meant.
Result<const KnownModel*> find_model(const KnownModels& models, const std::string& name);

std::string human_parameters(std::uint64_t parameters); // "135 M", "7.2 B"
std::string human_milliseconds(milliseconds time);      // "85 ms", "2.4 s"
std::string model_json(const KnownModel& model);

} // namespace intertie::bin
