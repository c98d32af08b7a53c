// An Ask is an index over the client's own bytes: where the model name, every text, tool and image is, and what the
// request needs. It copies no text. It borrows `body`, which the connection keeps alive (and unchanged) until the answer
// is done, with kPadding readable bytes behind it. Immutable after wire's read. One request, one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace intertie {

inline constexpr std::size_t kPadding = 64; // readable bytes behind every buffer that is parsed (simdjson's need)

enum class DialectId : std::uint8_t { OpenAiChat };

// What a request needs and a model offers; a set of bits.
enum class Cap : std::uint16_t {
  None = 0,
  Tools = 1, // calls if and when the model wants
  Vision = 2,
  JsonObject = 4,
  JsonSchema = 8,
  Logprobs = 16,
  Audio = 32,
  ManyChoices = 64,
  ForcedTools = 128, // a call that must be made: tool_choice required, or a named function
};
constexpr Cap operator|(Cap a, Cap b) { return static_cast<Cap>(static_cast<unsigned>(a) | static_cast<unsigned>(b)); }
constexpr Cap operator&(Cap a, Cap b) { return static_cast<Cap>(static_cast<unsigned>(a) & static_cast<unsigned>(b)); }
constexpr Cap missing(Cap needed, Cap offered) {
  return static_cast<Cap>(static_cast<unsigned>(needed) & ~static_cast<unsigned>(offered));
}

// Where in a conversation a text stands. The guard scans all of them.
enum class Position : std::uint8_t {
  System,
  User,
  Assistant,
  ToolResult,
  ToolArgument,
  ToolDefinition,
  Name,
  Metadata,
  Unknown
};

// The bytes between the quotes of one JSON string of the body: [begin, end), still JSON-escaped when `escaped`.
struct TextSpan {
  std::uint32_t begin;
  std::uint32_t end;
  Position position;
  bool escaped;
};
struct Span {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  bool empty() const { return begin == end; }
};

struct Ask {
  std::string_view body; // the client's bytes, whole
  DialectId dialect = DialectId::OpenAiChat;
  std::string model; // as named by the client, unescaped
  Span model_value;  // the value's bytes in body, quotes included: where another name is spliced in
  bool stream = false;
  bool include_usage = false; // stream_options.include_usage
  Span stream_options;        // the value's bytes, empty when absent
  Cap needs = Cap::None;
  std::optional<std::uint32_t> max_tokens; // max_completion_tokens, else max_tokens
  std::uint32_t messages = 0;
  std::uint32_t tools = 0;
  std::uint32_t images = 0;
  bool tool_history = false;    // a message carries tool calls or a tool's result
  bool answers_tools = false;   // the last message is a tool's result
  std::vector<TextSpan> texts;  // every string with text in it, in order of appearance
  std::uint32_t text_bytes = 0; // sum over texts

  std::string_view at(Span span) const { return body.substr(span.begin, span.end - span.begin); }
  std::string_view at(const TextSpan& span) const { return body.substr(span.begin, span.end - span.begin); }
  // Estimate until a tokenizer has counted: one token per 3.6 bytes of text plus 4 per message, 800 per image.
  std::uint32_t estimated_prompt_tokens() const {
    return static_cast<std::uint32_t>(text_bytes / 3.6) + 4 * messages + 800 * images + 3;
  }
};
} // namespace intertie
