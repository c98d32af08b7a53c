// What a child is started with: its flags and its environment, as pure functions of the plan, so that `models show` can
// print them and tests can read them. Also where the engine's program is looked for. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"
#include "local/engines.hpp"
#include "local/fit.hpp"

namespace intertie::local {

struct ChildPlan {
  std::string model_file;
  std::string name{}; // what the child calls the model in its answers; never its path
  std::string socket;
  std::string slot_dir;  // where slots may be saved
  std::string cache_dir; // the engine's private cache folder
  FitPlan fit{};
  int threads = 1;
  int batch_threads = 1;
  bool dedicated = false;
  std::vector<std::string> extra{}; // a person's own flags, last so that they win
};

// context 0 → min(the model's, 8192); threads by the rule of the two-core table (never all cores unless dedicated). The
// batch is what the model reads in less than a fifth of a second at `prompt_rate` tokens/s (32 … 256; 0 = unknown): a
// cancelled answer ends, and other slots get their turn, only between batches. A person's own flags go over all of these,
// in the plan as on the command line, so that what is predicted is predicted of the child that will run.
ChildPlan plan_child(const Settings& settings, const ModelFlags& flags, const Gguf& model, const std::string& file,
                     int cores, double prompt_rate = 0);
std::vector<std::string> child_arguments(const ChildPlan& plan);
// What a child for this file would be started with now, for `models show`. Failures: as read_gguf.
Result<std::vector<std::string>> child_arguments(const Settings& settings, const ModelFlags& flags,
                                                 const std::string& file);
// A clean environment: every LLAMA_ARG_* of ours would act as a flag. `inherited` is environ; only what a GPU build or the
// loader needs is let through.
std::vector<std::string> child_environment(const ChildPlan& plan, const Secret& key, const char* const* inherited);

// The program to run: the configured one; else the newest in data_dir/engines, else llama-server in PATH.
// Failures: Unavailable (Fault::LocalResource) with the fix; "none" says so.
Result<std::string> find_engine(const Settings& settings, std::string_view path_variable);

} // namespace intertie::local
