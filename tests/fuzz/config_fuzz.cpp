// links: config
// Any bytes as a configuration: a Config or a message with a position, never a crash; what is shown reads back the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "config/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace intertie::config;
  static const Environment environment{{{"HOME", "/home/ada"}, {"OPENAI_API_KEY", "sk-fuzz"}}};
  std::string_view toml(reinterpret_cast<const char*>(data), size);
  if (toml.find("file:") != std::string_view::npos) return 0; // opens files, which a fuzzer should not
  auto config = parse_config(toml, "fuzz.toml", environment);
  if (!config) {
    if (config.error().message.empty()) std::abort();
    return 0;
  }
  auto shown = show_config(*config);
  if (shown.find("sk-fuzz") != std::string::npos) std::abort();
  auto again = parse_config(shown, "shown.toml", environment);
  if (!again || show_config(*again) != shown) std::abort();
  return 0;
}
