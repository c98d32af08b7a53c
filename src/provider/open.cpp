#include "provider/open.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/json.hpp"
#include "core/text.hpp"
#include "provider/answer.hpp"
#include "wire/fields.hpp"

namespace intertie::provider {
namespace {

constexpr std::size_t kMaxErrorBody = 64 * 1024;
constexpr std::size_t kMaxAnswer = 64u << 20;

struct Field {
  std::string_view name;
  std::string_view rest;
};
Field next_field(std::string_view list) {
  auto comma = list.find(',');
  return {text::trim(list.substr(0, comma)), comma == std::string_view::npos ? "" : list.substr(comma + 1)};
}

// What this provider can't take: a Failure that names the field, before anything is sent.
Result<> refused_fields(const Provider& provider, const wire::BodyEdits& body) {
  for (Field f = next_field(provider.spec->quirks.refuse); !f.name.empty(); f = next_field(f.rest))
    if (body.has(f.name))
      return fail(
          FailureKind::Unsupported, Fault::Transient,
          fmt::format("{} does not support `{}`; leave it out or choose another provider", provider.name, f.name),
          "unsupported_parameter", std::string(f.name));
  return {};
}

void apply_quirks(const Quirks& quirks, wire::BodyEdits& body) {
  for (Field f = next_field(quirks.strip); !f.name.empty(); f = next_field(f.rest)) body.remove(f.name);
  if (quirks.no_stream_options) body.remove("stream_options");
  if (quirks.old_max_tokens && !body.has("max_tokens")) body.rename("max_completion_tokens", "max_tokens");
}

// Asking for usage makes the bill measured instead of estimated; the event that brings it is dropped again unless the
// client asked for it too.
bool wants_usage_event(const Ask& ask, const Provider& provider) {
  return ask.stream && !ask.include_usage && provider.paid && !provider.spec->quirks.no_stream_options;
}

bool plain(const Quirks& quirks) {
  return quirks.strip.empty() && quirks.refuse.empty() && !quirks.no_stream_options && !quirks.old_max_tokens;
}

// The body for the child, and the functions that its answer must call one of.
struct LocalBody {
  std::vector<wire::Edit> edits;
  std::vector<std::string> calls;
};

// Whatever a template knows of tools, the engine takes a named tool_choice for "auto" and lets text stand before a required
// call: those are held by our own schema. The rest is left to a template that knows tools, and is text to one that doesn't.
Result<std::vector<std::string>> tool_edits(const Ask& ask, Cap caps, wire::BodyEdits& body) {
  std::vector<std::string> calls;
  bool knows_tools = (caps & Cap::Tools) != Cap::None;
  if ((ask.needs & Cap::ForcedTools) != Cap::None) {
    TRY(calls, wire::force_call(body));
  } else if (!knows_tools) {
    for (std::string_view field : {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"})
      body.remove(field);
  }
  if (!knows_tools && ask.tool_history) wire::tools_as_text(body);
  return calls;
}

Result<LocalBody> local_body(const Ask& ask, const Target& target) {
  wire::BodyEdits body(ask.body);
  body.set("model", json::quoted(target.model));
  body.set("stream", "true");
  body.set("stream_options", R"({"include_usage":true})");
  body.set("return_progress", "true");
  body.set("cache_prompt", "true");
  std::uint32_t most = ask.max_tokens.value_or(kLocalMaxTokens);
  body.remove("max_completion_tokens");
  body.set("max_tokens", std::to_string(std::min(most, kLocalMaxTokens)));
  LocalBody out;
  if (ask.tools > 0 || ask.tool_history) { TRY(out.calls, tool_edits(ask, target.caps, body)); }
  out.edits = body.edits();
  return out;
}

std::unique_ptr<wire::CallEvents> call_events(std::vector<std::string> names, CallId id) {
  if (names.empty()) return nullptr;
  return std::make_unique<wire::CallEvents>("call_" + to_string(id), std::move(names));
}

} // namespace

Remote::Remote(Provider provider) : provider_(std::move(provider)) {
  if (!provider_.spec->quirks.azure_path) head_ = Secret(head_for(provider_.url.path + "/chat/completions"));
}

std::string Remote::head_for(std::string_view path) const {
  std::string head = fmt::format(
      "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n"
      "Accept: application/json, text/event-stream\r\nUser-Agent: intertie/" INTERTIE_VERSION "\r\n",
      path, provider_.url.endpoint.host_header());
  auto key = provider_.key.reveal();
  if (provider_.auth == Auth::Bearer && !key.empty()) head.append("Authorization: Bearer ").append(key).append("\r\n");
  if (provider_.auth == Auth::ApiKeyHeader && !key.empty()) head.append("api-key: ").append(key).append("\r\n");
  return head;
}

std::string_view Remote::head(std::string_view model, std::string& scratch) const {
  if (!provider_.spec->quirks.azure_path) return head_.reveal();
  scratch = head_for(fmt::format("{}/openai/deployments/{}/chat/completions?api-version={}", provider_.url.path, model,
                                 provider_.api_version));
  return scratch;
}

Opener::Opener(net::Client& client, AcquireLocal acquire_local)
    : client_(client), acquire_local_(std::move(acquire_local)) {}

// Not a coroutine itself: every answer would pay for one more frame.
Task<Result<Stream<Delta>>> Opener::open(guard::Cleared cleared, Target target, Call& call) {
  // A Cleared is good for the trust it was cleared for and for nothing else.
  CHECK(cleared.trust() == target.trust);
  if (target.remote == nullptr) return open_local(cleared.ask(), target, call);
  return open_remote(cleared.ask(), target, call);
}

Task<Result<Stream<Delta>>> Opener::open_local(const Ask& ask, Target target, Call& call) {
  CO_TRY(auto body, local_body(ask, target));
  CO_TRY(auto slot, co_await acquire_local_(std::string(target.model), call));
  auto pieces = wire::splice(ask.body, body.edits);
  std::string head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  head.append("Authorization: Bearer ").append(slot->api_key().reveal()).append("\r\n");
  net::Endpoint endpoint;
  endpoint.transport = net::Endpoint::Transport::Unix;
  endpoint.host = slot->socket();
  // The child is watched for progress by its supervisor; here only the caller's deadline bounds the wait.
  net::Timeouts timeouts{milliseconds{1000}, call.left(), call.left()};
  net::Request request{.head = head, .body = pieces, .fresh = true}; // streams close the engine's connection anyway
  auto reply = co_await client_.send(endpoint, request, call, timeouts);
  if (!reply) {
    auto failure = std::move(reply).error();
    if (failure.kind == FailureKind::Unavailable) slot->refused();
    // A child that dies takes its connections along; its supervisor starts another.
    if (failure.fault == Fault::Transient || failure.fault == Fault::BrokenAnswer) failure.fault = Fault::LocalResource;
    co_return std::unexpected(of_provider("the local engine", std::move(failure)));
  }
  slot->progress();
  if (reply->status() != 200) {
    auto answer = co_await reply->read_all(kMaxErrorBody);
    if (!answer && answer.error().kind == FailureKind::Cancelled) co_return std::unexpected(std::move(answer).error());
    co_return std::unexpected(classify("the local engine", reply->status(), reply->header("content-type"), "",
                                       answer.value_or(std::string_view{})));
  }
  co_return Stream<Delta>(event_source(std::move(*reply), "the local engine", !(ask.stream && ask.include_usage),
                                       std::move(slot), std::nullopt, call_events(std::move(body.calls), call.id)));
}

Task<Result<Stream<Delta>>> Opener::open_remote(const Ask& ask, Target target, Call& call) {
  const Provider& provider = target.remote->provider();
  std::vector<wire::Edit> edits;
  bool our_usage = wants_usage_event(ask, provider);
  if (our_usage || !plain(provider.spec->quirks)) {
    wire::BodyEdits body(ask.body);
    if (auto ok = refused_fields(provider, body); !ok) co_return std::unexpected(std::move(ok).error());
    if (target.model != ask.model) body.set("model", json::quoted(target.model));
    if (our_usage) body.set("stream_options", R"({"include_usage":true})");
    apply_quirks(provider.spec->quirks, body);
    edits = body.edits();
  } else if (target.model != ask.model) {
    edits.push_back({ask.model_value.begin, ask.model_value.end, json::quoted(target.model)});
  }
  auto pieces = wire::splice(ask.body, edits);
  std::string scratch;
  net::Request request{.head = target.remote->head(target.model, scratch), .body = pieces};
  auto timeouts = provider.timeouts;
  timeouts.first_byte = std::min(timeouts.first_byte, target.budget);
  auto sent = co_await client_.send(provider.url.endpoint, request, call, timeouts);
  if (!sent) co_return std::unexpected(of_provider(provider.name, std::move(sent).error()));
  auto reply = std::move(*sent);
  if (reply.status() != 200) {
    // An error's body may be as long or as broken as it likes: its status is what counts.
    auto body = co_await reply.read_all(kMaxErrorBody);
    if (!body && body.error().kind == FailureKind::Cancelled) co_return std::unexpected(std::move(body).error());
    co_return std::unexpected(classify(provider.name, reply.status(), reply.header("content-type"),
                                       reply.header("retry-after"), body.value_or(std::string_view{})));
  }
  if (reply.event_stream()) {
    auto created = std::chrono::duration_cast<seconds>(call.clock.wall().time_since_epoch()).count();
    co_return Stream<Delta>(event_source(std::move(reply), provider.name, our_usage, nullptr,
                                         wire::StreamRepair(std::string(target.model), created), nullptr));
  }
  if (reply.header("content-type").find("json") == std::string_view::npos)
    co_return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer,
                   fmt::format("{} answered with something that is not JSON ({}); is its base_url right?",
                               provider.name, std::string(reply.header("content-type")).substr(0, 60)),
                   "upstream_broken");
  auto read_body = co_await reply.read_all(kMaxAnswer);
  if (!read_body) co_return std::unexpected(of_provider(provider.name, std::move(read_body).error()));
  auto body = *read_body;
  Delta answer;
  if (auto read = wire::read_chat_answer(body, answer); !read)
    co_return std::unexpected(of_provider(provider.name, std::move(read).error()));
  co_return Stream<Delta>(whole_source(std::move(reply), answer));
}

} // namespace intertie::provider
