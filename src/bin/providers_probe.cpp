#include "bin/providers_probe.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <simdjson.h>

#include "core/json.hpp"
#include "core/text.hpp"
#include "provider/open.hpp"

namespace intertie::bin {
namespace {

using Transport = net::Endpoint::Transport;

std::string system_resolve(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (found != nullptr) ::freeaddrinfo(found);
  return error == 0 ? std::string{} : ::gai_strerror(error);
}

std::string address_of(const provider::Provider& provider) {
  const auto& endpoint = provider.url.endpoint;
  return endpoint.transport == Transport::Unix ? endpoint.host : fmt::format("{}:{}", endpoint.host, endpoint.port);
}

std::string_view how_to_start(const provider::Provider& provider) {
  if (provider.spec->name == "ollama") return "start it: ollama serve";
  if (provider.spec->name == "lmstudio") return "start its server: lms server start";
  if (provider.place == Place::Cloud)
    return "is this machine online, and does a firewall or proxy ([[provider]] proxy, HTTPS_PROXY) stand between?";
  return "is it running, and is base_url right?";
}

std::string_view tls_fix(const provider::Provider& provider) {
  if (!provider.url.endpoint.ca_file.empty()) return "is ca_file the CA that signed its certificate?";
  return "for a private CA say ca_file = \"/path/ca.pem\"; check the clock; a server without TLS wants http:// in "
         "base_url";
}

bool about_tls(const Failure& failure) {
  auto message = text::lower(failure.message);
  return message.find("tls") != std::string::npos || message.find("certificate") != std::string::npos;
}

std::string request_line(const provider::Provider& provider, std::string_view method, const std::string& path) {
  return fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nUser-Agent: intertie/" INTERTIE_VERSION
                     "\r\n",
                     method, path, provider.url.endpoint.host_header());
}

std::string tiny_body(const provider::Provider& provider, const std::string& model) {
  constexpr int kFewTokens = 8;
  json::Object body;
  body.add("model", model).raw("messages", R"([{"role":"user","content":"Say ok."}])");
  body.add(provider.spec->quirks.old_max_tokens ? "max_tokens" : "max_completion_tokens", kFewTokens);
  return body.str();
}

// The model that a tiny answer is asked of: the first configured one; of a server that costs nothing, the first it
// lists.
std::string model_to_ask(const provider::Provider& provider, const std::vector<std::string>& listed) {
  if (!provider.models.empty()) return provider.models.front().name;
  return provider.paid || listed.empty() ? std::string{} : listed.front();
}

class Steps {
 public:
  Steps(const provider::Provider& provider, const Probe& probe) : provider_(provider), probe_(probe) {}
  std::vector<Step> run() {
    if (resolve() && reach()) ask();
    return std::move(steps_);
  }

 private:
  bool add(std::string name, StepState state, std::string what, std::string_view fix = {}) {
    steps_.push_back({std::move(name), state, std::move(what), std::string(fix)});
    return state != StepState::Failed;
  }

  bool resolve() {
    const auto& endpoint = provider_.url.endpoint;
    if (endpoint.transport == Transport::Unix) return add("name", StepState::Ok, "a unix socket");
    if (!endpoint.proxy.empty()) return add("name", StepState::Ok, fmt::format("left to the proxy {}", endpoint.proxy));
    auto problem = probe_.resolve ? probe_.resolve(endpoint.host) : system_resolve(endpoint.host);
    if (problem.empty()) return add("name", StepState::Ok, fmt::format("{} resolves", endpoint.host));
    return add("name", StepState::Failed, fmt::format("{} doesn't resolve: {}", endpoint.host, problem),
               "is base_url right, and is this machine online?");
  }

  // One request says it all: connection, TLS, key, models.
  bool reach() {
    bool tls = provider_.url.endpoint.transport == Transport::Tls;
    auto answer = get_models(provider_, probe_.fetch, probe_.limit);
    if (!answer && tls && about_tls(answer.error())) {
      add("connection", StepState::Ok, address_of(provider_));
      return add("tls", StepState::Failed, answer.error().message, tls_fix(provider_));
    }
    if (!answer) return add("connection", StepState::Failed, answer.error().message, how_to_start(provider_));
    add("connection", StepState::Ok, address_of(provider_));
    if (tls) add("tls", StepState::Ok, "certificate accepted");
    return judge_key(*answer) && judge_models(*answer);
  }

  bool judge_key(const Answer& answer) {
    if (answer.status == 401 || answer.status == 403)
      return add("key", StepState::Failed, fmt::format("refused with {} ({})", answer.status, key_state(provider_)),
                 key_missing(provider_) ? "give it one: see \"Adding a key\" in the README"
                                        : "make a new key with the provider and put it where the old one is");
    if (key_missing(provider_))
      return add("key", StepState::Failed, key_state(provider_), "give it one: see \"Adding a key\" in the README");
    return add("key", StepState::Ok, key_state(provider_));
  }

  bool judge_models(const Answer& answer) {
    if (answer.status == 404 || answer.status == 405)
      return add("models", StepState::Skipped, fmt::format("it lists none ({})", answer.status),
                 provider_.url.path.empty() ? "base_url ends without a path: most servers want /v1 there" : "");
    if (answer.status != 200)
      return add("models", StepState::Failed,
                 provider::classify(provider_.name, answer.status, "application/json", "", answer.body).message,
                 "try again in a minute; if it stays, is base_url right (with /v1)?");
    listed_ = listed_models(answer.body);
    if (listed_.empty()) return add("models", StepState::Skipped, "the answer is no list of models");
    std::string absent;
    for (const auto& model : provider_.models)
      if (!listed(model.name)) absent += (absent.empty() ? "" : ", ") + model.name;
    if (absent.empty() || provider_.spec->quirks.azure_path)
      return add("models", StepState::Ok,
                 fmt::format("{} listed", listed_.size() == 1 ? "1 model" : fmt::format("{} models", listed_.size())));
    add("models", StepState::Failed, fmt::format("{} listed, but not {}", listed_.size(), absent),
        fmt::format("it has, for example: {}", examples()));
    return true; // a provider may serve more than it lists: let the answer decide
  }

  bool listed(const std::string& name) const {
    // Another Intertie lists "local/NAME" and answers to NAME as well.
    bool ours = provider_.spec->name == "intertie";
    return std::ranges::any_of(listed_,
                               [&](const std::string& id) { return id == name || (ours && id.ends_with("/" + name)); });
  }

  std::string examples() const {
    std::string out;
    for (std::size_t i = 0; i < std::min<std::size_t>(4, listed_.size()); ++i)
      out += (out.empty() ? "" : ", ") + listed_[i];
    return out;
  }

  bool ask() {
    if (provider_.paid && !probe_.may_pay)
      return add("answer", StepState::Skipped, "it costs money and paid places are off",
                 "[policy] paid = true lets Intertie use it");
    auto model = model_to_ask(provider_, listed_);
    if (model.empty())
      return add("answer", StepState::Skipped, "no model is configured for it",
                 "add to its [[provider]]: models = [\"…\"]");
    std::string scratch;
    provider::Remote remote(provider_);
    SystemClock clock;
    auto started = clock.now();
    auto answer = probe_.fetch(provider_.url.endpoint, std::string(remote.head(model, scratch)),
                               tiny_body(provider_, model), probe_.limit);
    auto took = std::chrono::duration_cast<milliseconds>(clock.now() - started).count();
    if (!answer) return add("answer", StepState::Failed, answer.error().message, how_to_start(provider_));
    if (answer->status != 200) {
      auto failure = provider::classify(provider_.name, answer->status, "application/json", "", answer->body);
      return add("answer", StepState::Failed, failure.message,
                 answer->status == 404 ? "is the model's name right?" : "what it says is above");
    }
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    bool whole =
        parser.parse(answer->body).get(root) == simdjson::SUCCESS && root["choices"].at(0).error() == simdjson::SUCCESS;
    if (!whole)
      return add("answer", StepState::Failed, "what came is no chat completion", "is base_url right (with /v1)?");
    return add("answer", StepState::Ok, fmt::format("{} answered in {} ms", model, took));
  }

  const provider::Provider& provider_;
  const Probe& probe_;
  std::vector<Step> steps_;
  std::vector<std::string> listed_;
};

} // namespace

std::string_view to_string(StepState state) {
  switch (state) {
    case StepState::Ok: return "ok";
    case StepState::Failed: return "failed";
    case StepState::Skipped: break;
  }
  return "skipped";
}

bool key_missing(const provider::Provider& provider) {
  return provider.auth != provider::Auth::None && provider.key.empty();
}

std::string key_state(const provider::Provider& provider) {
  if (provider.auth == provider::Auth::None) return "none needed";
  if (!provider.key.empty()) return "found: " + provider.key_source;
  auto where = !provider.key_source.empty() ? provider.key_source : std::string(provider.spec->key_env);
  return where.empty() ? std::string("none") : "missing: " + where;
}

std::vector<std::string> listed_models(std::string_view body) {
  constexpr std::size_t kMost = 10'000;
  std::vector<std::string> out;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  simdjson::dom::array list;
  if (parser.parse(body.data(), body.size()).get(root) != simdjson::SUCCESS) return out;
  // Most say {"data": […]}, Together a bare list.
  if (root["data"].get(list) != simdjson::SUCCESS && root.get(list) != simdjson::SUCCESS) return out;
  for (auto model : list) {
    std::string_view id;
    if (out.size() < kMost && model["id"].get(id) == simdjson::SUCCESS) out.emplace_back(id);
  }
  return out;
}

std::vector<Step> probe_provider(const provider::Provider& provider, const Probe& probe) {
  return Steps(provider, probe).run();
}

Result<Answer> get_models(const provider::Provider& provider, const Fetch& fetch, milliseconds limit) {
  auto path = provider.spec->quirks.azure_path
                  ? fmt::format("{}/openai/models?api-version={}", provider.url.path, provider.api_version)
                  : provider.url.path + "/models";
  auto head = request_line(provider, "GET", path);
  auto key = provider.key.reveal();
  if (provider.auth == provider::Auth::Bearer && !key.empty())
    head.append("Authorization: Bearer ").append(key).append("\r\n");
  if (provider.auth == provider::Auth::ApiKeyHeader && !key.empty())
    head.append("api-key: ").append(key).append("\r\n");
  return fetch(provider.url.endpoint, std::move(head), {}, limit);
}

} // namespace intertie::bin
