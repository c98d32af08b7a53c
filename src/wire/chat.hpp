// OpenAI Chat Completions, sans I/O: bytes → Ask, upstream events → facts and back to bytes. Pure, any thread.
// Deliberately not here: HTTP, sockets, other dialects.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ask.hpp"
#include "core/call.hpp"
#include "core/delta.hpp"
#include "core/result.hpp"

namespace intertie::wire {

// One validating pass over the body, which must have kPadding readable bytes behind it. BadRequest with the field at
// fault in `param`: not JSON (with the position), not an object, no or empty `model` (names `auto`), no or empty
// `messages`, a wrong type, a duplicate of a key that matters (model, messages, stream, tools, max_tokens …), nesting
// beyond 48, lone surrogates, invalid UTF-8, over the caps (messages 20,000, tools 512).
Result<Ask> read_chat_ask(std::string_view body);

// A change of the original bytes: [begin, end) becomes `text`. Sorted, not overlapping.
struct Edit {
  std::uint32_t begin;
  std::uint32_t end;
  std::string text;
};
// Pieces to write one after the other, without copying what is untouched. Views into `body` and `edits`.
std::vector<std::string_view> splice(std::string_view body, const std::vector<Edit>& edits);

// Reads the facts of whole SSE events into `delta` (raw, pieces, finished, last, usage, timings, shape). Cheap when there
// is nothing but text: no JSON parser runs unless a marker is found. UpstreamBroken when an event is not JSON or carries
// an error object (then with its status and message).
Result<> read_chat_events(std::string_view events, Delta& delta);
// The same for one complete JSON answer (kPadding bytes behind it).
Result<> read_chat_answer(std::string_view body, Delta& delta);

// Puts a streamed answer together for a client that asked for none (and joins an upstream's oddities: missing id, role or
// finish_reason). Text, reasoning_content, refusal, tool calls by index, logprobs, several choices.
class ChatAggregator {
 public:
  Result<> feed(std::string_view events);
  // The chat.completion object. `id`, `model` and `created` fill in what upstream left out.
  std::string finish(std::string_view id, std::string_view model, std::int64_t created, const Usage& usage) const;

 private:
  struct ToolCall {
    std::string id, type, name, arguments;
  };
  struct Choice {
    std::string content, reasoning, refusal, finish_reason, logprobs,
        refusal_logprobs; // logprobs: JSON, comma-separated
    bool has_content = false, has_refusal = false, has_logprobs = false;
    std::vector<ToolCall> tool_calls;
  };
  struct Reader; // reads parsed events into this; in aggregate.cpp
  std::vector<Choice> choices_;
  std::string id_, model_, fingerprint_, service_tier_;
  std::int64_t created_ = 0;
  std::size_t size_ = 0; // bytes fed, bounded
};
// And the other way: one complete answer as stream events, for a client that asked for a stream. Ends with [DONE]. The usage
// event is the answer's own; an answer without usage gives none.
Result<std::string> chat_answer_as_events(std::string_view body, bool include_usage);

// {"error":{"message","type","param","code"}}, as official clients read it. Relays an upstream's own JSON error body.
std::string render_chat_failure(const Failure& failure);
std::string render_chat_failure_event(const Failure& failure); // SSE: the error, then [DONE]
std::string render_chat_usage_event(std::string_view id, std::string_view model, std::int64_t created,
                                    const Usage& usage);

struct ListedModel {
  std::string id;
  std::string owner;
  std::int64_t created;
};
std::string render_model_list(const std::vector<ListedModel>& models); // GET /v1/models
std::string render_model(const ListedModel& model);                    // GET /v1/models/{id}

} // namespace intertie::wire
