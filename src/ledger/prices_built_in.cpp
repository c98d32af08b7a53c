// share/prices.toml compiled in, so that the program needs no file beside it. The test compares the two; to change a price
// change the file there and copy it here.
#include "ledger/prices.hpp"

namespace intertie::ledger {
std::string_view built_in_prices_text() {
  return R"prices(# What models cost, in US dollars per million tokens: `date` is the day that the figure is from, `source` the page that showed
# it. Where that page isn't the vendor's own, the row says "second hand". Prices change: check the vendor's page before you
# rely on one. What could not be confirmed is not here, and a name that moves on to other models ("-latest") never is: no
# price is better than a wrong one. Where a price has steps, it is the one for short prompts and the hours that cost most.
# Your own file of the same form goes over this one: ~/.config/intertie/prices.toml, or the prices in [[model]] of the
# configuration, which win over both. One `key = value` per line.

[[price]]
provider = "openai"
model = "gpt-5"
input = 1.25
cached_input = 0.125
output = 10
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "gpt-5-mini"
input = 0.25
cached_input = 0.025
output = 2
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "gpt-5-nano"
input = 0.05
cached_input = 0.005
output = 0.4
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "gpt-4.1"
input = 2
cached_input = 0.5
output = 8
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "gpt-4.1-mini"
input = 0.4
cached_input = 0.1
output = 1.6
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "gpt-4.1-nano"
input = 0.1
cached_input = 0.025
output = 0.4
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "gpt-4o"
input = 2.5
cached_input = 1.25
output = 10
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "gpt-4o-mini"
input = 0.15
cached_input = 0.075
output = 0.6
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "o3"
input = 2
cached_input = 0.5
output = 8
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "o4-mini"
input = 1.1
cached_input = 0.275
output = 4.4
date = "2026-03-21"
source = "https://deploybase.ai/articles/openai-pricing" # second hand

[[price]]
provider = "openai"
model = "gpt-5.4"
input = 2.5
cached_input = 0.25
output = 15
date = "2026-05-04"
source = "https://github.com/api-evangelist/openai" # second hand

[[price]]
provider = "openai"
model = "gpt-5.4-mini"
input = 0.75
cached_input = 0.075
output = 4.5
date = "2026-05-04"
source = "https://github.com/api-evangelist/openai" # second hand

[[price]]
provider = "openai"
model = "gpt-5.4-nano"
input = 0.2
cached_input = 0.02
output = 1.25
date = "2026-05-04"
source = "https://github.com/api-evangelist/openai" # second hand

[[price]]
provider = "openai"
model = "gpt-5.5"
input = 5
cached_input = 0.5
output = 30
date = "2026-05-04"
source = "https://github.com/api-evangelist/openai" # second hand

[[price]]
provider = "groq"
model = "llama-3.1-8b-instant"
input = 0.05
output = 0.08
date = "2026-05-08"
source = "https://github.com/api-evangelist/groq" # second hand

[[price]]
provider = "groq"
model = "openai/gpt-oss-20b"
input = 0.075
cached_input = 0.0375
output = 0.3
date = "2026-05-27"
source = "https://github.com/anomalyco/models.dev" # second hand

[[price]]
provider = "groq"
model = "openai/gpt-oss-120b"
input = 0.15
cached_input = 0.075
output = 0.6
date = "2026-05-27"
source = "https://github.com/anomalyco/models.dev" # second hand

[[price]]
provider = "mistral"
model = "mistral-medium-3.5"
input = 1.5
output = 7.5
date = "2026-08-27"
source = "https://github.com/anomalyco/models.dev" # second hand

[[price]]
provider = "mistral"
model = "mistral-large-2512"
input = 0.5
output = 1.5
date = "2025-12-02"
source = "https://github.com/anomalyco/models.dev" # second hand

[[price]]
provider = "deepseek"
model = "deepseek-flash"
input = 0.3
cached_input = 0.006
output = 1.2
date = "2026-10-27"
source = "https://api-docs.deepseek.com/quick_start/pricing"

[[price]]
provider = "deepseek"
model = "deepseek-v4-pro"
input = 1.32
cached_input = 0.044
output = 3.96
date = "2026-10-27"
source = "https://api-docs.deepseek.com/quick_start/pricing"

[[price]]
provider = "xai"
model = "grok-4.3"
input = 1.25
cached_input = 0.2
output = 2.5
date = "2026-07-13"
source = "https://docs.apiyi.com/en/api-capabilities/grok/overview" # second hand

[[price]]
provider = "xai"
model = "grok-4.5"
input = 2
cached_input = 0.3
output = 6
date = "2026-07-13"
source = "https://docs.apiyi.com/en/api-capabilities/grok/overview" # second hand

[[price]]
provider = "gemini"
model = "gemini-2.5-pro"
input = 1.25
cached_input = 0.125
output = 10
date = "2026-10-07"
source = "https://github.com/api-evangelist/deepmind" # second hand

[[price]]
provider = "gemini"
model = "gemini-2.5-flash"
input = 0.3
cached_input = 0.03
output = 2.5
date = "2026-10-07"
source = "https://github.com/api-evangelist/deepmind" # second hand

[[price]]
provider = "gemini"
model = "gemini-2.5-flash-lite"
input = 0.1
cached_input = 0.01
output = 0.4
date = "2026-10-07"
source = "https://github.com/api-evangelist/deepmind" # second hand

[[price]]
provider = "gemini"
model = "gemini-3.5-flash"
input = 1.5
cached_input = 0.15
output = 9
date = "2026-10-07"
source = "https://github.com/api-evangelist/deepmind" # second hand

[[price]]
provider = "gemini"
model = "gemini-3.5-flash-lite"
input = 0.3
cached_input = 0.03
output = 2.5
date = "2026-10-07"
source = "https://github.com/api-evangelist/deepmind" # second hand
)prices";
}
} // namespace intertie::ledger
