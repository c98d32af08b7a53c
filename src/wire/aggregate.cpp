// Streams to answers and answers to streams. Off the fast path: only when client and upstream disagree about streaming.
#include <algorithm>

#include <fmt/format.h>

#include "core/json.hpp"
#include "core/text.hpp"
#include "wire/answer.hpp"
#include "wire/chat.hpp"
#include "wire/sse.hpp"

namespace intertie::wire {
namespace {
constexpr std::size_t kMostBytes = 64U << 20; // of one streamed answer
constexpr std::size_t kMostChoices = 128, kMostToolCalls = 512;

void keep_first(std::string& into, std::string_view text) {
  if (into.empty()) into = text;
}
void append_items(std::string& into, dom::object logprobs, std::string_view key) {
  dom::array items;
  if (logprobs[key].get(items) != simdjson::SUCCESS) return;
  for (dom::element item : items) {
    if (!into.empty()) into += ',';
    into += simdjson::minify(item);
  }
}
std::string null_or_array(const std::string& items) { return items.empty() ? "null" : "[" + items + "]"; }
} // namespace

struct ChatAggregator::Reader {
  ChatAggregator& to;

  Result<> event(dom::object event) {
    keep_first(to.id_, text_of(event, "id"));
    keep_first(to.model_, text_of(event, "model"));
    keep_first(to.fingerprint_, text_of(event, "system_fingerprint"));
    keep_first(to.service_tier_, text_of(event, "service_tier"));
    std::int64_t created = 0;
    if (to.created_ == 0 && event["created"].get(created) == simdjson::SUCCESS) to.created_ = created;
    dom::array choices;
    if (event["choices"].get(choices) != simdjson::SUCCESS) return {};
    for (dom::element element : choices) {
      dom::object choice;
      if (element.get(choice) == simdjson::SUCCESS) TRY_VOID(this->choice(choice));
    }
    return {};
  }

  Result<> choice(dom::object from) {
    std::size_t index = count_of(from, "index");
    if (index >= kMostChoices) return broken_answer("the provider numbered a choice beyond any that were asked for");
    if (to.choices_.size() <= index) to.choices_.resize(index + 1);
    Choice& choice = to.choices_[index];
    dom::object logprobs;
    if (from["logprobs"].get(logprobs) == simdjson::SUCCESS) {
      choice.has_logprobs = true;
      append_items(choice.logprobs, logprobs, "content");
      append_items(choice.refusal_logprobs, logprobs, "refusal");
    }
    if (auto reason = text_of(from, "finish_reason"); !reason.empty()) choice.finish_reason = reason;
    dom::object delta;
    if (from["delta"].get(delta) != simdjson::SUCCESS && from["message"].get(delta) != simdjson::SUCCESS) return {};
    std::string_view text;
    if (delta["content"].get(text) == simdjson::SUCCESS) {
      choice.has_content = true;
      choice.content += text;
    }
    if (delta["refusal"].get(text) == simdjson::SUCCESS) {
      choice.has_refusal = true;
      choice.refusal += text;
    }
    auto reasoning = text_of(delta, "reasoning_content");
    choice.reasoning += reasoning.empty() ? text_of(delta, "reasoning") : reasoning;
    dom::array calls;
    if (delta["tool_calls"].get(calls) != simdjson::SUCCESS) return {};
    for (dom::element element : calls) {
      dom::object call;
      if (element.get(call) == simdjson::SUCCESS) TRY_VOID(tool_call(choice, call));
    }
    return {};
  }

  // By index; without one, a new id begins a new call and anything else continues the last.
  static Result<> tool_call(Choice& choice, dom::object from) {
    auto& calls = choice.tool_calls;
    std::string_view id = text_of(from, "id");
    bool fresh = calls.empty() || (!id.empty() && calls.back().id != id);
    std::size_t index =
        from["index"].error() == simdjson::SUCCESS ? count_of(from, "index") : calls.size() - (fresh ? 0U : 1U);
    if (index >= kMostToolCalls) return broken_answer("the provider numbered a tool call beyond reason");
    if (calls.size() <= index) calls.resize(index + 1);
    ToolCall& call = calls[index];
    keep_first(call.id, id);
    keep_first(call.type, text_of(from, "type"));
    dom::object function;
    if (from["function"].get(function) != simdjson::SUCCESS) return {};
    keep_first(call.name, text_of(function, "name"));
    call.arguments += text_of(function, "arguments");
    return {};
  }

  static std::string render(const Choice& choice, std::size_t index);
};

Result<> ChatAggregator::feed(std::string_view events) {
  size_ += events.size();
  if (size_ > kMostBytes)
    return broken_answer("the provider's streamed answer is larger than 64 MiB", "answer_too_large");
  DataReader reader(events);
  while (auto data = reader.next()) {
    auto json = text::trim(*data);
    if (json.empty()) continue;
    if (json == "[DONE]") break;
    TRY(auto event, parse_object(json));
    if (auto failure = error_in(event, json)) return std::unexpected(std::move(*failure));
    TRY_VOID(Reader{*this}.event(event));
  }
  return {};
}

std::string ChatAggregator::Reader::render(const Choice& choice, std::size_t index) {
  json::Object message;
  message.add("role", "assistant");
  bool content = choice.has_content && !(choice.content.empty() && (!choice.tool_calls.empty() || choice.has_refusal));
  content ? message.add("content", choice.content) : message.null("content");
  choice.has_refusal ? message.add("refusal", choice.refusal) : message.null("refusal");
  if (!choice.reasoning.empty()) message.add("reasoning_content", choice.reasoning);
  json::Array calls;
  for (std::size_t i = 0; i < choice.tool_calls.size(); ++i) {
    const auto& call = choice.tool_calls[i];
    if (call.name.empty() && call.id.empty()) continue; // a gap in the upstream's numbering
    calls.raw(json::Object{}
                  .add("id", call.id.empty() ? fmt::format("call_{}", i) : call.id)
                  .add("type", call.type.empty() ? "function" : std::string_view{call.type})
                  .raw("function", json::Object{}.add("name", call.name).add("arguments", call.arguments).str())
                  .str());
  }
  if (!calls.empty()) message.raw("tool_calls", calls.str());
  std::string_view reason = choice.finish_reason;
  if (reason.empty()) reason = calls.empty() ? "stop" : "tool_calls";
  json::Object out;
  out.add("index", std::uint64_t{index}).raw("message", message.str());
  if (choice.has_logprobs) {
    out.raw("logprobs", json::Object{}
                            .raw("content", null_or_array(choice.logprobs))
                            .raw("refusal", null_or_array(choice.refusal_logprobs))
                            .str());
  } else {
    out.null("logprobs");
  }
  return out.add("finish_reason", reason).str();
}

std::string ChatAggregator::finish(std::string_view id, std::string_view model, std::int64_t created,
                                   const Usage& usage) const {
  json::Array choices;
  for (std::size_t i = 0; i < choices_.size(); ++i) choices.raw(Reader::render(choices_[i], i));
  if (choices_.empty()) choices.raw(Reader::render(Choice{}, 0));
  json::Object answer;
  answer.add("id", id_.empty() ? id : id_)
      .add("object", "chat.completion")
      .add("created", created_ == 0 ? created : created_)
      .add("model", model_.empty() ? model : model_)
      .raw("choices", choices.str())
      .raw("usage", usage_object(usage));
  fingerprint_.empty() ? answer.null("system_fingerprint") : answer.add("system_fingerprint", fingerprint_);
  if (!service_tier_.empty()) answer.add("service_tier", service_tier_);
  return answer.str();
}

namespace {
std::string with_index(dom::object call, std::size_t index) {
  json::Object out;
  out.add("index", std::uint64_t{index});
  for (auto [key, value] : call)
    if (key != "index") out.raw(json::quoted(key).substr(1, json::quoted(key).size() - 2), simdjson::minify(value));
  return out.str();
}

// The message as the one delta that carries everything; its tool calls get the index that deltas have.
std::string whole_delta(dom::object message) {
  json::Object out;
  if (message["role"].error() != simdjson::SUCCESS) out.add("role", "assistant");
  for (auto [key, value] : message) {
    std::string name = json::quoted(key);
    std::string_view escaped = std::string_view{name}.substr(1, name.size() - 2);
    dom::array calls;
    if (key != "tool_calls" || value.get(calls) != simdjson::SUCCESS) {
      out.raw(escaped, simdjson::minify(value));
      continue;
    }
    json::Array list;
    std::size_t index = 0;
    for (dom::element call : calls) {
      dom::object object;
      if (call.get(object) == simdjson::SUCCESS) list.raw(with_index(object, index++));
    }
    out.raw("tool_calls", list.str());
  }
  return out.str();
}

// The envelope that every chunk of one answer shares, up to its choices.
json::Object envelope(dom::object answer) {
  json::Object chunk;
  chunk.add("id", text_of(answer, "id")).add("object", "chat.completion.chunk");
  std::int64_t created = 0;
  (void)answer["created"].get(created);
  chunk.add("created", created).add("model", text_of(answer, "model"));
  for (std::string_view key : {"system_fingerprint", "service_tier"})
    if (auto text = text_of(answer, key); !text.empty()) chunk.add(key, text);
  return chunk;
}
} // namespace

Result<std::string> chat_answer_as_events(std::string_view body, bool include_usage) {
  TRY(auto answer, parse_object(body));
  if (auto failure = error_in(answer, body)) return std::unexpected(std::move(*failure));
  dom::array choices;
  if (answer["choices"].get(choices) != simdjson::SUCCESS)
    return broken_answer("the provider answered with JSON that is not a chat completion: it has no choices");
  std::string out;
  auto emit = [&](std::string_view list, std::string_view usage) {
    auto chunk = envelope(answer);
    chunk.raw("choices", list);
    if (include_usage) chunk.raw("usage", usage);
    out += "data: " + chunk.str() + "\n\n";
  };
  for (dom::element element : choices) {
    dom::object choice, message, logprobs;
    if (element.get(choice) != simdjson::SUCCESS || choice["message"].get(message) != simdjson::SUCCESS)
      return broken_answer("the provider answered with a chat completion whose choice has no message");
    bool probable = choice["logprobs"].get(logprobs) == simdjson::SUCCESS;
    auto one = [&](std::string_view delta, std::string_view probs) {
      return json::Object{}.add("index", count_of(choice, "index")).raw("delta", delta).raw("logprobs", probs);
    };
    auto reason = text_of(choice, "finish_reason");
    emit("[" + one(whole_delta(message), probable ? simdjson::minify(logprobs) : "null").null("finish_reason").str() +
             "]",
         "null");
    emit("[" + one("{}", "null").add("finish_reason", reason.empty() ? "stop" : reason).str() + "]", "null");
  }
  dom::element usage;
  if (include_usage && answer["usage"].get(usage) == simdjson::SUCCESS && usage.is_object())
    emit("[]", simdjson::minify(usage));
  release_answer_parser(body.size());
  return out + "data: [DONE]\n\n";
}
} // namespace intertie::wire
