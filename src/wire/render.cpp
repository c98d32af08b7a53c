// What Intertie itself says to a Chat Completions client: failures, usage, the list of models; and splicing.
#include "core/json.hpp"
#include "wire/answer.hpp"
#include "wire/chat.hpp"

namespace intertie::wire {
namespace {
std::string error_object(std::string_view message, const Failure& failure) {
  const auto& kind = facts(failure.kind);
  std::string_view code = failure.code.empty() ? kind.code : failure.code;
  json::Object error;
  error.add("message", message).add("type", kind.error_type);
  failure.param.empty() ? error.null("param") : error.add("param", failure.param);
  code.empty() ? error.null("code") : error.add("code", code);
  return json::Object{}.raw("error", error.str()).str();
}

void add_member(json::Object& to, std::string_view key, dom::element value) {
  std::string escaped = json::quoted(key);
  to.raw(std::string_view{escaped}.substr(1, escaped.size() - 2), simdjson::minify(value));
}

// An error as it came, with what OpenAI's schema demands and it left out (type, param, code); the schema knows no numbers
// as codes, which llama.cpp sends.
std::string completed(dom::object error, const Failure& failure) {
  json::Object out;
  for (auto [key, value] : error)
    if (key == "code" && value.is_number()) out.add("code", std::string_view{simdjson::minify(value)});
    else add_member(out, key, value);
  if (error["type"].error() != simdjson::SUCCESS) out.add("type", facts(failure.kind).error_type);
  for (std::string_view key : {"param", "code"})
    if (error[key].error() != simdjson::SUCCESS) out.null(key);
  return out.str();
}

// The upstream's own error on one line; empty when it sent none that an official client would understand.
std::string upstream_error(const Failure& failure) {
  if (failure.upstream_body.empty()) return {};
  auto body = parse_object(failure.upstream_body);
  if (!body) return {};
  dom::element error;
  if ((*body)["error"].get(error) != simdjson::SUCCESS) return {};
  std::string_view text;
  if (error.get(text) == simdjson::SUCCESS) return error_object(text, failure); // Ollama's shape
  dom::object object;
  if (error.get(object) != simdjson::SUCCESS || object["message"].error() != simdjson::SUCCESS) return {};
  json::Object out;
  for (auto [key, value] : *body)
    if (key == "error") out.raw("error", completed(object, failure));
    else add_member(out, key, value);
  return out.str();
}
} // namespace

std::string render_chat_failure(const Failure& failure) {
  if (auto relayed = upstream_error(failure); !relayed.empty()) return relayed;
  return error_object(failure.message, failure);
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
