#include "local/fit.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace intertie::local {
namespace {
constexpr std::uint64_t kKvBlock = 256;        // llama.cpp pads contexts to this
constexpr std::uint64_t kProgram = 18'500'000; // code and libraries touched, heaps, buffers of the HTTP server
constexpr std::uint64_t kPerToken = 160;       // tokenizer tables: hash entries and a string per token
constexpr std::uint64_t kPerMerge = 100;

// Rows a tensor of this type must divide into to be repacked on this CPU; 0 = is never repacked (repack.cpp,
// ggml_repack_get_optimal_repack_type).
std::uint32_t repack_rows(std::string_view type, const CpuFeatures& cpu) {
  bool arm = cpu.dot_product || cpu.matrix_int8;
  if (type == "Q4_0" || type == "IQ4_NL" || type == "MXFP4") return cpu.avx2 ? 8 : arm ? 4 : 0;
  if (type == "Q4_K") return cpu.avx2 || arm ? 8 : 0;
  if (type == "Q2_K") return cpu.avx512 ? 8 : 0;
  if (type == "Q5_K" || type == "Q6_K") return arm ? 8 : 0;
  if (type == "Q8_0") return arm ? 4 : 0;
  return 0;
}

} // namespace

std::uint64_t repacked_bytes(const Gguf& model, const CpuFeatures& cpu) {
  std::uint64_t total = 0;
  bool own_output = std::ranges::any_of(model.tensors, [](const auto& t) { return t.name == "output.weight"; });
  for (const auto& tensor : model.tensors) {
    if (tensor.dimensions < 2) continue;
    // Looked up by row, not multiplied: stays as it is, unless it doubles as the output matrix.
    if (tensor.name == "token_embd.weight" && own_output) continue;
    auto rows = repack_rows(tensor_type(tensor.type)->name, cpu);
    if (rows > 0 && tensor.rows % rows == 0) total += tensor.bytes;
  }
  return total;
}

namespace {
// Far beyond any machine, and still safe to add up: what a header with absurd numbers comes to.
constexpr std::uint64_t kAbsurd = 1ULL << 56;
std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  std::uint64_t out = 0;
  return __builtin_mul_overflow(a, b, &out) || out > kAbsurd ? kAbsurd : out;
}

std::uint64_t kv_bytes(const Gguf& model, const FitPlan& plan) {
  auto cells = (std::uint64_t{plan.context} + kKvBlock - 1) / kKvBlock * kKvBlock * plan.slots;
  std::uint64_t per_cell = 0;
  for (std::uint32_t layer = 0; layer < std::min<std::uint32_t>(model.layers, 4096); ++layer)
    per_cell += times(model.kv_heads_at(layer), (std::uint64_t{model.key_length} + model.value_length) * 2);
  return times(cells, per_cell);
}

// Activations of one batch: masks of 2 bytes per cell and token, and the widest few activations in 4 bytes.
std::uint64_t compute_bytes(const Gguf& model, const FitPlan& plan) {
  auto cells = (std::uint64_t{plan.context} + kKvBlock - 1) / kKvBlock * kKvBlock;
  std::uint64_t activations = 3ULL * model.feed_forward + 5ULL * model.embedding;
  return times(plan.batch, cells * 2 + activations * 4) + std::uint64_t{model.vocabulary} * 4 * (1 + plan.slots);
}
} // namespace

CpuFeatures cpu_features() {
  CpuFeatures cpu;
#if defined(__x86_64__)
  cpu.avx2 = __builtin_cpu_supports("avx2");
  cpu.avx512 = __builtin_cpu_supports("avx512f");
#elif defined(__aarch64__)
  cpu.dot_product = (getauxval(AT_HWCAP) & (1UL << 20)) != 0;
  cpu.matrix_int8 = (getauxval(AT_HWCAP2) & (1UL << 13)) != 0;
#endif
  return cpu;
}

Fit predict_memory(const Gguf& model, std::uint64_t repacked, const FitPlan& plan) {
  Fit fit;
  fit.weights = model.weight_bytes;
  fit.repacked = repacked;
  fit.kv_cache = kv_bytes(model, plan);
  fit.compute = compute_bytes(model, plan);
  fit.runtime = kProgram + kPerToken * model.vocabulary + kPerMerge * model.merges;
  fit.prompt_cache = plan.prompt_cache;
  return fit;
}

namespace {
std::uint64_t number_in(const std::string& path, std::uint64_t otherwise) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? value : otherwise; // "max" leaves `otherwise`
}

// What the cgroup (v2) of this process still allows.
std::uint64_t cgroup_left() {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  std::uint64_t least = UINT64_MAX;
  while (std::getline(file, line)) {
    if (!line.starts_with("0::/")) continue;
    auto path = line.substr(3);
    for (;;) { // a limit may sit on any parent
      auto folder = "/sys/fs/cgroup" + (path == "/" ? "" : path);
      auto most = number_in(folder + "/memory.max", UINT64_MAX);
      auto used = number_in(folder + "/memory.current", 0);
      if (most != UINT64_MAX) least = std::min(least, most > used ? most - used : 0);
      auto slash = path.rfind('/');
      if (path == "/" || slash == std::string::npos) break;
      path.resize(std::max<std::size_t>(slash, 1));
    }
  }
  return least;
}
} // namespace

std::uint64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::uint64_t kilobytes = 0, available = 0;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    if (fields >> name >> kilobytes && name == "MemAvailable:") available = kilobytes * 1024;
  }
  return std::min(available, cgroup_left());
}

std::uint64_t memory_budget(std::uint64_t configured, std::uint64_t held_by_children) {
  if (configured != 0) return configured;
  return (available_memory() + held_by_children) / 10 * 8;
}

std::uint64_t resident_bytes(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t pages = 0, resident = 0;
  return file >> pages >> resident ? resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}
} // namespace intertie::local
