// THE registry of providers: one row per kind of server, read top to bottom. A new one is a row here and a row in
// docs/providers.md (the test compares them). Facts are from each vendor's public documentation as of the date in
// `trusts`, which says "unverified" where no page could be found that confirms them; what may change without notice
// (prices, models) is not here.
#include <array>

#include "provider/spec.hpp"

namespace intertie::provider {
namespace {
constexpr Quirks kPlain{};
constexpr Quirks kOldMaxTokens{.old_max_tokens = true};

constexpr std::array<ProviderSpec, 18> kSpecs{{
    // The clouds. Trust is T4 until the person who has a contract says otherwise (trust = "T3"). All of them cost money.
    {"openai", "OpenAI", "https://api.openai.com/v1", Auth::Bearer, "OPENAI_API_KEY", Place::Cloud, Trust::T4, true,
     kPlain,
     "OpenAI (US) reads what you send; API data isn't used for training unless you opt in, and is kept up to 30 days, "
     "longer where law or safety asks for it (2026-11)."},
    {"azure", "Azure OpenAI", "", Auth::ApiKeyHeader, "AZURE_OPENAI_API_KEY", Place::Cloud, Trust::T3, true,
     Quirks{.azure_path = true},
     "Microsoft, under your Azure contract; not used for training; what its abuse checks flag is kept and may be read "
     "by people (2026-08)."},
    {"groq", "Groq", "https://api.groq.com/openai/v1", Auth::Bearer, "GROQ_API_KEY", Place::Cloud, Trust::T4, true,
     Quirks{.refuse = "logit_bias,logprobs,top_logprobs", .context_from_models = true},
     "Groq (US) reads what you send; by default it keeps none of it, except to look into failures and abuse, which "
     "your "
     "account can turn off (2026-11)."},
    {"cerebras", "Cerebras", "https://api.cerebras.ai/v1", Auth::Bearer, "CEREBRAS_API_KEY", Place::Cloud, Trust::T4,
     true,
     Quirks{.strip = "store,metadata,service_tier,parallel_tool_calls",
            .refuse = "frequency_penalty,presence_penalty,logit_bias"},
     "Cerebras (US) reads what you send; what it keeps is unverified (2026-11)."},
    {"together", "Together AI", "https://api.together.xyz/v1", Auth::Bearer, "TOGETHER_API_KEY", Place::Cloud,
     Trust::T4, true, Quirks{.old_max_tokens = true, .context_from_models = true},
     "Together AI (US) stores what you send, and may use it to improve its product, until your organization's privacy "
     "settings say no; training needs your consent (2026-11)."},
    {"mistral", "Mistral", "https://api.mistral.ai/v1", Auth::Bearer, "MISTRAL_API_KEY", Place::Cloud, Trust::T4, true,
     Quirks{.strip = "user,store,metadata,service_tier",
            .refuse = "logit_bias,logprobs,top_logprobs",
            .no_stream_options = true,
            .old_max_tokens = true,
            .context_from_models = true},
     "Mistral (FR, EU) reads what you send and keeps it unless zero retention is agreed on a paid plan; how long, and "
     "whether free plans are used for training, is unverified (2026-11)."},
    {"deepseek", "DeepSeek", "https://api.deepseek.com/v1", Auth::Bearer, "DEEPSEEK_API_KEY", Place::Cloud, Trust::T4,
     true, kOldMaxTokens,
     "DeepSeek (CN) reads what you send, stores it in China, for no stated time, and doesn't rule out training with it "
     "(2026-04)."},
    {"openrouter", "OpenRouter", "https://openrouter.ai/api/v1", Auth::Bearer, "OPENROUTER_API_KEY", Place::Cloud,
     Trust::T4, true, Quirks{.context_from_models = true},
     "OpenRouter (US) passes what you send to a provider that it picks, whose own rules apply too; itself it keeps "
     "none "
     "unless you opt in (2026-07)."},
    {"xai", "xAI", "https://api.x.ai/v1", Auth::Bearer, "XAI_API_KEY", Place::Cloud, Trust::T4, true, kPlain,
     "xAI (US) reads what you send and keeps it 30 days; not used for training unless you agree (2026-11)."},
    {"gemini", "Google Gemini", "https://generativelanguage.googleapis.com/v1beta/openai", Auth::Bearer,
     "GEMINI_API_KEY", Place::Cloud, Trust::T4, true,
     Quirks{.strip = "store,metadata,service_tier,user", .refuse = "logit_bias"},
     "Google (US) reads what you send and keeps it 55 days against abuse; on the free tier people may read it and it "
     "improves Google's products (2026-11)."},
    {"huggingface", "Hugging Face router", "https://router.huggingface.co/v1", Auth::Bearer, "HF_TOKEN", Place::Cloud,
     Trust::T4, true, kOldMaxTokens,
     "Hugging Face (US, EU) passes what you send to a provider that it picks, whose own rules apply too; what it keeps "
     "itself is unverified (2026-11)."},

    // Servers of your own. Whoever runs the machine reads what you send. On the loopback they may be declared
    // place = "device", if nothing behind them leaves it.
    {"vllm", "vLLM", "http://127.0.0.1:8000/v1", Auth::Bearer, "", Place::Edge, Trust::T1, false,
     Quirks{.context_from_models = true}, "You trust whoever runs that machine (2025-09)."},
    {"nim", "NVIDIA NIM", "http://127.0.0.1:8000/v1", Auth::Bearer, "", Place::Edge, Trust::T1, false, kOldMaxTokens,
     "You trust whoever runs that machine; the container is NVIDIA's (2025-09)."},
    {"intertie", "another Intertie", "", Auth::Bearer, "", Place::Edge, Trust::T1, false, kPlain,
     "You trust whoever runs that machine, and its own policy about where it sends things on (2025-09)."},

    // Programs on this machine. A name with -cloud or :cloud is none of theirs: see standing().
    {"lmstudio", "LM Studio", "http://127.0.0.1:1234/v1", Auth::Bearer, "", Place::Device, Trust::T0, false,
     kOldMaxTokens, "You trust LM Studio on this machine; its models run here (2025-09)."},
    {"ollama", "Ollama", "http://127.0.0.1:11434/v1", Auth::Bearer, "", Place::Device, Trust::T0, false, kOldMaxTokens,
     "You trust Ollama on this machine; its models run here, except those named -cloud, which Ollama Inc. runs "
     "(2025-09)."},
    {"llama-server", "llama.cpp server", "http://127.0.0.1:8080/v1", Auth::Bearer, "", Place::Device, Trust::T0, false,
     Quirks{.old_max_tokens = true, .context_from_models = true},
     "You trust the llama-server that you started on this machine (2025-09)."},

    // Anything else that speaks the OpenAI API: taken for the worst until the configuration says what it is.
    {"openai-compatible", "an OpenAI-compatible server", "", Auth::Bearer, "", Place::Cloud, Trust::T4, true, kPlain,
     "Nobody knows whom you trust here: say place, trust and paid in the configuration (2025-09)."},
}};
} // namespace

std::span<const ProviderSpec> specs() { return kSpecs; }

const ProviderSpec* find_spec(std::string_view name) {
  for (const auto& spec : kSpecs)
    if (spec.name == name) return &spec;
  return nullptr;
}

Standing standing(const Provider& provider, std::string_view model) {
  Standing own{provider.place, provider.trust, provider.paid};
  // Ollama's names for models that its makers run: "gpt-oss:120b-cloud", "kimi-k2:cloud". They leave this machine.
  bool elsewhere = model.ends_with("-cloud") || model.ends_with(":cloud");
  if (!elsewhere || provider.place == Place::Cloud) return own;
  return {Place::Cloud, Trust::T4, true};
}
} // namespace intertie::provider
