// How much memory a child will hold resident, predicted from the header before anything is loaded: weights (mapped), the
// copies the engine repacks for this CPU, KV cache, compute buffers, tokenizer and program. Pure; any thread. Not an
// upper bound: within 10 % of what is measured (fit_test.cpp holds the measured table).
#pragma once

#include <cstdint>

#include "local/gguf.hpp"

namespace intertie::local {

// What of this CPU decides which tensors the engine copies into another layout (ggml-cpu/repack.cpp).
struct CpuFeatures {
  bool avx2 = false;
  bool avx512 = false;
  bool dot_product = false; // Arm
  bool matrix_int8 = false; // Arm
};
CpuFeatures cpu_features(); // of this machine

struct FitPlan {
  std::uint32_t context = 4096; // tokens per slot
  std::uint32_t slots = 1;
  std::uint32_t batch = 256;
  std::uint64_t prompt_cache = 0; // bytes the engine may keep of evicted prompts
};

struct Fit {
  std::uint64_t weights = 0;
  std::uint64_t repacked = 0;
  std::uint64_t kv_cache = 0;
  std::uint64_t compute = 0;
  std::uint64_t runtime = 0;      // program, tokenizer, tables
  std::uint64_t prompt_cache = 0; // grows with use
  std::uint64_t resident() const { return weights + repacked + kv_cache + compute + runtime; }
  std::uint64_t ceiling() const { return resident() + prompt_cache; }
};
// Bytes of the tensors that the engine copies on such a CPU; wants the tensors, which a catalogue need not keep.
std::uint64_t repacked_bytes(const Gguf& model, const CpuFeatures& cpu);
Fit predict_memory(const Gguf& model, std::uint64_t repacked, const FitPlan& plan);

// What models may use together: `configured`, or 80 % of what is available now plus what our children hold already.
std::uint64_t memory_budget(std::uint64_t configured, std::uint64_t held_by_children);
std::uint64_t available_memory();      // MemAvailable, and not more than the cgroup leaves
std::uint64_t resident_bytes(int pid); // 0 when it is gone

} // namespace intertie::local
