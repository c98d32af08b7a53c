// Reaches one provider step by step: name, connection, TLS, key, list of models, one tiny answer; each with what to do
// when it fails. The only text that is ever sent is "Say ok.". How a request travels is handed in, so that tests need
// no network.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bin/daemon_client.hpp"
#include "provider/spec.hpp"

namespace intertie::bin {

enum class StepState : std::uint8_t { Ok, Failed, Skipped };
std::string_view to_string(StepState state); // "ok" "failed" "skipped"

struct Step {
  std::string name; // "name" "connection" "tls" "key" "models" "answer"
  StepState state = StepState::Ok;
  std::string what;
  std::string fix{};
};
using Fetch = std::function<Result<Answer>(const net::Endpoint& endpoint, std::string head, std::string body,
                                           milliseconds limit)>;
// Empty when the name resolves (or needs no resolving), else why not.
using Resolve = std::function<std::string(const std::string& host)>;

struct Probe {
  Fetch fetch = bin::fetch;
  Resolve resolve;     // empty = the system's
  bool may_pay = true; // are paid places on?
  milliseconds limit{30'000};
};
std::vector<Step> probe_provider(const provider::Provider& provider, const Probe& probe);

// GET …/models, with the key.
Result<Answer> get_models(const provider::Provider& provider, const Fetch& fetch, milliseconds limit);
// Names in an OpenAI-style list; empty when it is none.
std::vector<std::string> listed_models(std::string_view body);
// Where its key is looked for, and whether it was there; never the key: "found: environment OPENAI_API_KEY".
std::string key_state(const provider::Provider& provider);
bool key_missing(const provider::Provider& provider);

} // namespace intertie::bin
