// For tests: writes a small, valid llama-architecture GGUF with random weights and a synthetic byte-level vocabulary that
// the real engine loads and generates (nonsense) from. Not a converter. Deterministic for a seed.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.hpp"

namespace intertie::local {

enum class TinyType : std::uint8_t { F16, Q8_0, Q4_0 };

struct TinyShape {
  std::uint32_t layers = 2;
  std::uint32_t embedding = 64;     // a multiple of 32 and of heads
  std::uint32_t feed_forward = 128; // a multiple of 32
  std::uint32_t heads = 4;
  std::uint32_t kv_heads = 2;
  std::uint32_t vocabulary = 512; // at least 300
  std::uint32_t context = 1024;
  TinyType type = TinyType::F16;
  std::uint32_t seed = 1;
  bool tools = false;                 // a template that knows tools
  std::string architecture = "llama"; // anything else is for the catalogue only
};

std::string tiny_gguf(const TinyShape& shape); // the file's bytes
Result<> write_tiny_gguf(const std::string& path, const TinyShape& shape);

} // namespace intertie::local
