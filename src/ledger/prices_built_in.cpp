// share/prices.toml compiled in, so that the program needs no file beside it. The test compares the two; to change a price
// change the file there and copy it here.
#include "ledger/prices.hpp"

namespace intertie::ledger {
std::string_view built_in_prices_text() {
  return R"prices(# What models cost, in US dollars per million tokens, with the day the price was read and where. Prices change: check the page
# before you rely on one. Your own file of the same form goes over this one: ~/.config/intertie/prices.toml, or the prices in
# [[model]] of the configuration, which win over both. One `key = value` per line.

[[price]]
provider = "openai"
model = "gpt-5"
input = 1.25
cached_input = 0.125
output = 10
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "gpt-5-mini"
input = 0.25
cached_input = 0.025
output = 2
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "gpt-5-nano"
input = 0.05
cached_input = 0.005
output = 0.4
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "gpt-4.1"
input = 2
cached_input = 0.5
output = 8
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "gpt-4.1-mini"
input = 0.4
cached_input = 0.1
output = 1.6
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "gpt-4.1-nano"
input = 0.1
cached_input = 0.025
output = 0.4
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "gpt-4o"
input = 2.5
cached_input = 1.25
output = 10
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "gpt-4o-mini"
input = 0.15
cached_input = 0.075
output = 0.6
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "o3"
input = 2
cached_input = 0.5
output = 8
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "openai"
model = "o4-mini"
input = 1.1
cached_input = 0.275
output = 4.4
date = "2025-09-15"
source = "https://openai.com/api/pricing"

[[price]]
provider = "groq"
model = "llama-3.1-8b-instant"
input = 0.05
output = 0.08
date = "2025-09-15"
source = "https://groq.com/pricing"

[[price]]
provider = "groq"
model = "llama-3.3-70b-versatile"
input = 0.59
output = 0.79
date = "2025-09-15"
source = "https://groq.com/pricing"

[[price]]
provider = "groq"
model = "openai/gpt-oss-20b"
input = 0.1
output = 0.5
date = "2025-09-15"
source = "https://groq.com/pricing"

[[price]]
provider = "groq"
model = "openai/gpt-oss-120b"
input = 0.15
output = 0.75
date = "2025-09-15"
source = "https://groq.com/pricing"

[[price]]
provider = "cerebras"
model = "gpt-oss-120b"
input = 0.35
output = 0.75
date = "2025-09-15"
source = "https://www.cerebras.ai/pricing"

[[price]]
provider = "together"
model = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
input = 0.88
output = 0.88
date = "2025-09-15"
source = "https://www.together.ai/pricing"

[[price]]
provider = "mistral"
model = "mistral-small-latest"
input = 0.1
output = 0.3
date = "2025-09-15"
source = "https://mistral.ai/pricing"

[[price]]
provider = "mistral"
model = "mistral-medium-latest"
input = 0.4
output = 2
date = "2025-09-15"
source = "https://mistral.ai/pricing"

[[price]]
provider = "mistral"
model = "mistral-large-latest"
input = 2
output = 6
date = "2025-09-15"
source = "https://mistral.ai/pricing"

[[price]]
provider = "deepseek"
model = "deepseek-chat"
input = 0.56
cached_input = 0.07
output = 1.68
date = "2025-09-15"
source = "https://api-docs.deepseek.com/quick_start/pricing"

[[price]]
provider = "deepseek"
model = "deepseek-reasoner"
input = 0.56
cached_input = 0.07
output = 1.68
date = "2025-09-15"
source = "https://api-docs.deepseek.com/quick_start/pricing"

[[price]]
provider = "xai"
model = "grok-4"
input = 3
cached_input = 0.75
output = 15
date = "2025-09-15"
source = "https://docs.x.ai/docs/models"

[[price]]
provider = "xai"
model = "grok-3"
input = 3
cached_input = 0.75
output = 15
date = "2025-09-15"
source = "https://docs.x.ai/docs/models"

[[price]]
provider = "xai"
model = "grok-3-mini"
input = 0.3
cached_input = 0.075
output = 0.5
date = "2025-09-15"
source = "https://docs.x.ai/docs/models"

[[price]]
provider = "gemini"
model = "gemini-2.5-pro"
input = 1.25
cached_input = 0.31
output = 10
date = "2025-09-15"
source = "https://ai.google.dev/gemini-api/docs/pricing"

[[price]]
provider = "gemini"
model = "gemini-2.5-flash"
input = 0.3
cached_input = 0.075
output = 2.5
date = "2025-09-15"
source = "https://ai.google.dev/gemini-api/docs/pricing"

[[price]]
provider = "gemini"
model = "gemini-2.5-flash-lite"
input = 0.1
cached_input = 0.025
output = 0.4
date = "2025-09-15"
source = "https://ai.google.dev/gemini-api/docs/pricing"
)prices";
}
} // namespace intertie::ledger
