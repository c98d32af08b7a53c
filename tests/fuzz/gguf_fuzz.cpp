// links: local
// The GGUF header reader against any bytes: never a crash, never more than the file could hold, and never a tensor outside.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "local/fit.hpp"
#include "local/gguf.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace intertie::local;
  ReadAt read = [&](std::uint64_t offset, char* out, std::size_t wanted) -> std::size_t {
    if (offset >= size) return 0;
    auto take = std::min<std::size_t>(wanted, size - offset);
    std::memcpy(out, data + offset, take);
    return take;
  };
  auto gguf = parse_gguf(read, size);
  if (!gguf) {
    if (gguf.error().message.empty()) std::abort();
    return 0;
  }
  for (const auto& tensor : gguf->tensors)
    if (tensor.bytes > size || tensor.offset > size - tensor.bytes) std::abort();
  auto repacked = repacked_bytes(*gguf, CpuFeatures{.avx2 = true, .avx512 = true});
  auto fit = predict_memory(*gguf, repacked, FitPlan{.context = 8192});
  if (fit.weights > size * (gguf->tensors.size() + 1)) std::abort();
  return 0;
}
