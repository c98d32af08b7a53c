// What Intertie itself says to a Chat Completions client: failures, usage, the list of models; and splicing.
#include "core/json.hpp"
#include "wire/answer.hpp"
#include "wire/chat.hpp"

namespace intertie::wire {
namespace {
std::string error_object(std::string_view message, std::string_view type, std::string_view param,
                         std::string_view code) {
  json::Object error;
  error.add("message", message).add("type", type);
  param.empty() ? error.null("param") : error.add("param", param);
  code.empty() ? error.null("code") : error.add("code", code);
  return json::Object{}.raw("error", error.str()).str();
}

// The upstream's own error on one line; empty when it sent none that an official client would understand.
std::string upstream_error(const Failure& failure) {
  if (failure.upstream_body.empty()) return {};
  auto body = parse_object(failure.upstream_body);
  if (!body) return {};
  dom::element error;
  if ((*body)["error"].get(error) != simdjson::SUCCESS) return {};
  std::string_view text;
  if (error.get(text) == simdjson::SUCCESS) // Ollama's shape
    return error_object(text, facts(failure.kind).error_type, failure.param, failure.code);
  if (!error.is_object() || error["message"].error() != simdjson::SUCCESS) return {};
  return simdjson::minify(*body);
}
} // namespace

std::string render_chat_failure(const Failure& failure) {
  if (auto relayed = upstream_error(failure); !relayed.empty()) return relayed;
  return error_object(failure.message, facts(failure.kind).error_type, failure.param, failure.code);
}
std::string render_chat_failure_event(const Failure& failure) {
  return "data: " + render_chat_failure(failure) + "\n\ndata: [DONE]\n\n";
}

std::string usage_object(const Usage& usage) {
  return json::Object{}
      .add("prompt_tokens", usage.prompt_tokens)
      .add("completion_tokens", usage.completion_tokens)
      .add("total_tokens", std::uint64_t{usage.prompt_tokens} + usage.completion_tokens)
      .raw("prompt_tokens_details", json::Object{}.add("cached_tokens", usage.cached_tokens).str())
      .str();
}

std::string render_chat_usage_event(std::string_view id, std::string_view model, std::int64_t created,
                                    const Usage& usage) {
  auto chunk = json::Object{}
                   .add("id", id)
                   .add("object", "chat.completion.chunk")
                   .add("created", created)
                   .add("model", model)
                   .raw("choices", "[]")
                   .raw("usage", usage_object(usage));
  return "data: " + chunk.str() + "\n\n";
}

std::string render_model(const ListedModel& model) {
  return json::Object{}
      .add("id", model.id)
      .add("object", "model")
      .add("created", model.created)
      .add("owned_by", model.owner)
      .str();
}
std::string render_model_list(const std::vector<ListedModel>& models) {
  json::Array list;
  for (const auto& model : models) list.raw(render_model(model));
  return json::Object{}.add("object", "list").raw("data", list.str()).str();
}

std::vector<std::string_view> splice(std::string_view body, const std::vector<Edit>& edits) {
  std::vector<std::string_view> pieces;
  pieces.reserve(2 * edits.size() + 1);
  std::uint32_t at = 0;
  auto add = [&](std::string_view piece) {
    if (!piece.empty()) pieces.push_back(piece);
  };
  for (const auto& edit : edits) {
    CHECK(at <= edit.begin && edit.begin <= edit.end && edit.end <= body.size());
    add(body.substr(at, edit.begin - at));
    add(edit.text);
    at = edit.end;
  }
  add(body.substr(at));
  return pieces;
}
} // namespace intertie::wire
