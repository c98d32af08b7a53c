#include "local/arguments.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "core/text.hpp"

namespace intertie::local {
namespace {
constexpr std::uint32_t kDefaultContext = 8192;
constexpr std::uint32_t kMostContext = 1u << 24;
constexpr std::uint32_t kMostSlots = 64;
constexpr std::uint64_t kMiB = 1u << 20;
constexpr double kLongestBatch = 0.18; // seconds: a cancelled prompt ends with its batch, and that within 0.3 s
constexpr int kMostTokens = 4096;      // without a cap an empty prompt was seen to generate for more than a minute

bool program(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

// What a person's own flags make of the plan: they come last on the command line, so the child goes by them, and what it is
// predicted to hold has to as well.
std::optional<std::uint32_t> own_number(const std::vector<std::string>& words, std::string_view brief,
                                        std::string_view full) {
  std::optional<std::uint32_t> found;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] != brief && words[i] != full) continue;
    const auto& word = words[i + 1];
    std::uint32_t value = 0;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error == std::errc{} && end == word.data() + word.size() && value > 0) found = value;
  }
  return found;
}
void take_own_flags(ChildPlan& plan) {
  auto own = [&](std::string_view brief, std::string_view full) { return own_number(plan.extra, brief, full); };
  auto& fit = plan.fit;
  fit.slots = std::min(own("-np", "--parallel").value_or(fit.slots), kMostSlots);
  if (auto all = own("-c", "--ctx-size")) fit.context = std::clamp(*all / fit.slots, 1U, kMostContext);
  // The engine reads at most a batch at once, and computes on at most a "ubatch" of it.
  fit.batch = std::min(own("-b", "--batch-size").value_or(fit.batch), own("-ub", "--ubatch-size").value_or(fit.batch));
}
} // namespace

ChildPlan plan_child(const Settings& settings, const ModelFlags& flags, const Gguf& model, const std::string& file,
                     int cores, double prompt_rate) {
  ChildPlan plan;
  plan.model_file = file;
  plan.slot_dir = settings.state_dir + "/slots";
  plan.cache_dir = settings.state_dir + "/engine-cache";
  auto trained = model.context == 0 ? kDefaultContext : model.context;
  plan.fit.context = std::min(flags.context == 0 ? std::min(trained, kDefaultContext) : flags.context, kMostContext);
  plan.fit.slots = std::clamp(flags.slots == 0 ? 1U : flags.slots, 1U, kMostSlots);
  plan.extra = flags.arguments;
  if (prompt_rate > 0)
    while (plan.fit.batch > 32 && plan.fit.batch / prompt_rate > kLongestBatch) plan.fit.batch /= 2;
  take_own_flags(plan);
  // Room for as much again as the slots hold: a conversation that was pushed out of its slot comes back from there.
  plan.fit.prompt_cache = std::clamp(predict_memory(model, 0, plan.fit).kv_cache / kMiB * kMiB, 16 * kMiB, 512 * kMiB);
  plan.dedicated = settings.dedicated;
  plan.threads = settings.threads > 0 ? settings.threads : settings.dedicated ? cores : std::max(1, cores - 1);
  plan.batch_threads = std::max(plan.threads, cores);
  return plan;
}

std::vector<std::string> child_arguments(const ChildPlan& plan) {
  std::vector<std::string> words{"-m",          plan.model_file,
                                 "--host",      plan.socket,
                                 "--no-ui",     "--offline",
                                 "-np",         std::to_string(plan.fit.slots),
                                 "-c",          std::to_string(std::uint64_t{plan.fit.context} * plan.fit.slots),
                                 "-t",          std::to_string(plan.threads),
                                 "-tb",         std::to_string(plan.batch_threads),
                                 "--poll",      plan.dedicated ? "50" : "0",
                                 "-b",          std::to_string(plan.fit.batch),
                                 "-ub",         std::to_string(plan.fit.batch),
                                 "-n",          std::to_string(kMostTokens),
                                 "-fit",        "off",
                                 "--cache-ram", std::to_string(plan.fit.prompt_cache / kMiB),
                                 "--metrics",   "--slot-save-path",
                                 plan.slot_dir, "--log-jsonl",
                                 "-lv",         "3"};
  if (!plan.name.empty()) words.insert(words.end(), {"--alias", plan.name});
  words.insert(words.end(), plan.extra.begin(), plan.extra.end());
  return words;
}

Result<std::vector<std::string>> child_arguments(const Settings& settings, const ModelFlags& flags,
                                                 const std::string& file) {
  TRY(auto model, read_gguf(file));
  auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  auto plan = plan_child(settings, flags, model, file, cores);
  plan.socket = settings.runtime_dir + "/e-….sock";
  return child_arguments(plan);
}

std::vector<std::string> child_environment(const ChildPlan& plan, const Secret& key, const char* const* inherited) {
  constexpr std::array<std::string_view, 10> kLetThrough{"PATH",
                                                         "HOME",
                                                         "LD_LIBRARY_PATH",
                                                         "CUDA_VISIBLE_DEVICES",
                                                         "NVIDIA_VISIBLE_DEVICES",
                                                         "HIP_VISIBLE_DEVICES",
                                                         "ROCR_VISIBLE_DEVICES",
                                                         "GGML_VK_VISIBLE_DEVICES",
                                                         "TMPDIR",
                                                         "TZ"};
  std::vector<std::string> out;
  for (; inherited != nullptr && *inherited != nullptr; ++inherited) {
    std::string_view entry = *inherited;
    if (std::ranges::find(kLetThrough, entry.substr(0, entry.find('='))) != kLetThrough.end()) out.emplace_back(entry);
  }
  out.emplace_back("LANG=C.UTF-8");
  out.push_back("LLAMA_CACHE=" + plan.cache_dir);
  // Spinning barriers are 1.4 times faster on an idle machine and collapse on a busy one.
  if (!plan.dedicated) out.emplace_back("OMP_WAIT_POLICY=passive");
  if (!key.empty()) out.push_back(fmt::format("LLAMA_API_KEY={}", key.reveal()));
  return out;
}

Result<std::string> find_engine(const Settings& settings, std::string_view path_variable) {
  auto missing = [](std::string text) {
    return fail(FailureKind::Unavailable, Fault::LocalResource, std::move(text), "engine_missing");
  };
  if (settings.engine == "none")
    return missing(
        "the local engine is switched off (engine = \"none\"): remove that line to run models on this machine");
  if (!settings.engine.empty()) {
    if (program(settings.engine)) return settings.engine;
    return missing(fmt::format("engine \"{}\" is not a program: give the path of llama-server", settings.engine));
  }
  std::vector<std::filesystem::path> found;
  std::error_code error;
  std::filesystem::recursive_directory_iterator at(settings.data_dir + "/engines", error), end;
  for (; !error && at != end; at.increment(error)) {
    if (at.depth() > 3) at.disable_recursion_pending();
    if (at->path().filename() == "llama-server" && program(at->path())) found.push_back(at->path());
  }
  auto newer = [](const auto& a, const auto& b) {
    std::error_code ignored;
    return std::filesystem::last_write_time(a, ignored) < std::filesystem::last_write_time(b, ignored);
  };
  if (!found.empty()) return std::ranges::max_element(found, newer)->string();
  for (auto folder : text::split(path_variable, ':'))
    if (auto path = std::filesystem::path(folder) / "llama-server"; !folder.empty() && program(path))
      return path.string();
  return missing("no engine found: `./dev setup` builds one, or set [local] engine to the path of a llama-server");
}
} // namespace intertie::local
