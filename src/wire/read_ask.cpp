// One pass over a request: simdjson finds the structure and checks the encoding, JsonVisit checks the rest, and this
// reader notes where things are. It judges only what Intertie itself relies on; the rest is upstream's business.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/json.hpp"
#include "wire/ask_keys.hpp"
#include "wire/chat.hpp"
#include "wire/json_visit.hpp"

namespace intertie::wire {
namespace {
constexpr int kMostDepth = 48;
constexpr std::uint32_t kMostMessages = 20'000, kMostTools = 512;
constexpr std::size_t kMostTexts = 1'000'000, kMostModelName = 512;
constexpr std::size_t kMostBody = 1U << 30;           // offsets are 32 bit; net refuses far earlier
constexpr auto kByRole = static_cast<Position>(0xFF); // until the message's role is known

std::string_view name_of(JsonKind kind) {
  switch (kind) {
    case JsonKind::Null: return "null";
    case JsonKind::Bool: return "a boolean";
    case JsonKind::Number: return "a number";
    case JsonKind::String: return "a string";
    case JsonKind::Array: return "an array";
    case JsonKind::Object: return "an object";
  }
  return "";
}

// Keys of free-form objects are text too (a name can stand there), unless they look like a schema's identifier.
bool identifier_like(std::string_view key) {
  return key.size() <= 40 &&
         std::ranges::all_of(key, [](char c) { return c == '_' || ((c | 32) >= 'a' && (c | 32) <= 'z'); });
}

bool base64_url(std::string_view text) {
  return text.starts_with("data:") && text.substr(0, 128).find(";base64,") != std::string_view::npos;
}

std::optional<Position> position_of(std::string_view role) {
  if (role == "user") return Position::User;
  if (role == "assistant") return Position::Assistant;
  if (role == "system" || role == "developer") return Position::System;
  if (role == "tool" || role == "function") return Position::ToolResult;
  return std::nullopt;
}

class AskReader : JsonVisit {
 public:
  explicit AskReader(std::string_view body) : JsonVisit(body, kMostDepth) { ask_.body = body; }
  Result<Ask> read();

 private:
  using Value = ondemand::value;
  bool field(std::string_view key, RawString raw, Value& value);
  bool known(Field field, std::string_view name, JsonKind kind, Value& value);
  bool model(Value& value);
  bool boolean(Value& value, bool& out);
  bool integer(Value& value, std::string_view name, std::optional<std::uint32_t>& out, int least = 1);
  bool stream_options(Value& value);
  bool response_format(Value& value);
  bool modalities(Value& value);
  bool definitions(Value& value, std::string_view name);
  bool tool_choice(Value& value, JsonKind kind);
  bool messages(Value& value);
  bool message(Value& value);
  bool content(Value& value, JsonKind kind);
  bool part(Value& value, std::uint32_t index);
  bool media(Value& value, bool raw_data);
  bool walk(Value& value, Position position);
  bool note(RawString text, Position position);
  bool wrong_type(std::string param, std::string_view wanted, JsonKind got);
  bool missing(std::string param, std::string_view hint);
  std::string in_message(std::string_view name) const {
    return fmt::format("messages[{}].{}", ask_.messages - 1, name);
  }
  void need(Cap cap) { ask_.needs = ask_.needs | cap; }

  Ask ask_;
  std::uint64_t seen_ = 0; // rows of kAskFields met
  std::optional<std::uint32_t> max_tokens_, max_completion_tokens_;
  Cap choice_ = Cap::Tools; // what tools make the request need, by tool_choice
};

bool AskReader::wrong_type(std::string param, std::string_view wanted, JsonKind got) {
  auto text = fmt::format("'{}' must be {}, not {}", param, wanted, name_of(got));
  return refuse(std::move(text), "invalid_type", std::move(param));
}
bool AskReader::missing(std::string param, std::string_view hint) {
  auto text = fmt::format("'{}' is missing or empty: {}", param, hint);
  return refuse(std::move(text), "missing_required_parameter", std::move(param));
}

bool AskReader::note(RawString raw, Position position) {
  if (raw.text.empty()) return true;
  if (ask_.texts.size() == kMostTexts)
    return refuse(fmt::format("the request holds more than {} strings", kMostTexts), "too_many_strings", "");
  std::uint32_t begin = offset(raw.text.data());
  auto size = static_cast<std::uint32_t>(raw.text.size());
  ask_.texts.push_back({begin, begin + size, position, raw.escaped});
  ask_.text_bytes += size;
  return true;
}

// Every string below `value`, whatever its shape.
bool AskReader::walk(Value& value, Position position) {
  JsonKind what{};
  if (!kind(value, what)) return false;
  if (what == JsonKind::Object)
    return fields(value, [&](std::string_view key, RawString raw, Value& inner) {
      return (identifier_like(key) || note(raw, position)) && walk(inner, position);
    });
  if (what == JsonKind::Array) return elements(value, [&](Value& inner) { return walk(inner, position); });
  RawString text{};
  std::string_view token;
  return what == JsonKind::String ? string(value, text) && note(text, position) : scalar(value, token);
}

Result<Ask> AskReader::read() {
  ask_.texts.reserve(16);
  bool good = document([this](std::string_view key, RawString raw, Value& value) { return field(key, raw, value); });
  if (good && ask_.model.empty()) good = missing("model", "name a model, or \"auto\" to let Intertie choose one");
  if (good && ask_.messages == 0)
    good = missing("messages", "send at least one message, such as {\"role\":\"user\",\"content\":\"Hello\"}");
  release_parser(body_.size());
  if (!good) return std::unexpected(std::move(failure()));
  if (ask_.tools > 0) need(choice_);
  ask_.max_tokens = max_completion_tokens_ ? max_completion_tokens_ : max_tokens_;
  return std::move(ask_);
}

bool AskReader::field(std::string_view key, RawString raw, Value& value) {
  int row = kAskIndex.find(key);
  if (row < 0) return (identifier_like(key) || note(raw, Position::Unknown)) && walk(value, Position::Unknown);
  const FieldRow& facts = kAskFields[static_cast<std::size_t>(row)];
  if ((seen_ >> row & 1) != 0)
    return refuse(fmt::format("'{}' appears twice; programs disagree on which one counts", facts.name), "duplicate_key",
                  std::string(facts.name));
  seen_ |= std::uint64_t{1} << row;
  JsonKind what{};
  if (!kind(value, what)) return false;
  if (what == JsonKind::Null) {
    std::string_view token;
    if (!scalar(value, token)) return false;
    if (facts.field == Field::Messages) return wrong_type("messages", facts.wanted, what);
    return true;
  }
  if ((facts.kinds & bits(what)) == 0) return wrong_type(std::string(facts.name), facts.wanted, what);
  return known(facts.field, facts.name, what, value);
}

bool AskReader::known(Field field, std::string_view name, JsonKind kind, Value& value) {
  std::optional<std::uint32_t> number;
  bool flag = false;
  switch (field) {
    case Field::Model: return model(value);
    case Field::Messages: return messages(value);
    case Field::Stream: return boolean(value, ask_.stream);
    case Field::StreamOptions: return stream_options(value);
    case Field::MaxTokens: return integer(value, name, max_tokens_);
    case Field::MaxCompletionTokens: return integer(value, name, max_completion_tokens_);
    case Field::Tools:
    case Field::Functions: return definitions(value, name);
    case Field::ResponseFormat: return response_format(value);
    case Field::Choices:
      if (!integer(value, name, number)) return false;
      if (number && *number > 1) need(Cap::ManyChoices);
      return true;
    case Field::Logprobs:
      if (!boolean(value, flag)) return false;
      if (flag) need(Cap::Logprobs);
      return true;
    case Field::TopLogprobs:
      if (!integer(value, name, number, 0)) return false;
      if (number && *number > 0) need(Cap::Logprobs);
      return true;
    case Field::Modalities: return modalities(value);
    case Field::ToolChoice: return tool_choice(value, kind);
    case Field::Audio: need(Cap::Audio); return walk(value, Position::Unknown);
    case Field::Metadata: return walk(value, Position::Metadata);
    case Field::MetadataText: return walk(value, Position::Metadata);
    case Field::Text: break;
  }
  std::string_view token;
  return kind == JsonKind::Number || kind == JsonKind::Bool ? scalar(value, token) : walk(value, Position::Unknown);
}

bool AskReader::model(Value& value) {
  RawString text{};
  if (!string(value, text)) return false;
  if (text.text.size() > kMostModelName)
    return refuse(fmt::format("'model' is longer than {} bytes", kMostModelName), "invalid_value", "model");
  std::uint32_t begin = offset(text.text.data());
  ask_.model_value = {begin - 1, begin + static_cast<std::uint32_t>(text.text.size()) + 1};
  ask_.model = text.escaped ? json::unescape(text.text) : std::string(text.text);
  return true;
}

bool AskReader::boolean(Value& value, bool& out) {
  std::string_view token;
  if (!scalar(value, token)) return false;
  out = token == "true";
  return true;
}

bool AskReader::integer(Value& value, std::string_view name, std::optional<std::uint32_t>& out, int least) {
  std::string_view token;
  if (!scalar(value, token)) return false;
  auto number = to_integer(token);
  if (!number) return refuse(fmt::format("'{}' must be a whole number", name), "invalid_type", std::string(name));
  if (*number == -1) return true; // llama.cpp's way to say "no limit"
  if (*number < least)
    return refuse(fmt::format("'{}' must be at least {}", name, least), "invalid_value", std::string(name));
  if (*number > INT32_MAX)
    return refuse(fmt::format("'{}' must be at most {}", name, INT32_MAX), "invalid_value", std::string(name));
  out = static_cast<std::uint32_t>(*number);
  return true;
}

// The end of the valid object that begins at `begin`.
std::uint32_t object_end(std::string_view body, std::uint32_t begin) {
  int depth = 0;
  for (std::size_t at = begin;; ++at) {
    char c = body[at];
    if (c == '"') at = static_cast<std::size_t>(string_at(body.data() + at).text.end() - body.data());
    else if (c == '{') ++depth;
    else if (c == '}' && --depth == 0) return static_cast<std::uint32_t>(at + 1);
  }
}

bool AskReader::stream_options(Value& value) {
  std::uint32_t begin = offset(value.raw_json_token().data());
  bool seen = false;
  bool good = fields(value, [&](std::string_view key, RawString, Value& inner) {
    if (key != "include_usage") return walk(inner, Position::Unknown);
    constexpr std::string_view kName = "stream_options.include_usage";
    if (std::exchange(seen, true))
      return refuse(fmt::format("'{}' appears twice", kName), "duplicate_key", std::string(kName));
    JsonKind what{};
    if (!kind(inner, what)) return false;
    if (what != JsonKind::Bool && what != JsonKind::Null) return wrong_type(std::string(kName), "true or false", what);
    return boolean(inner, ask_.include_usage);
  });
  if (good) ask_.stream_options = {begin, object_end(body_, begin)};
  return good;
}

bool AskReader::response_format(Value& value) {
  bool seen = false;
  return fields(value, [&](std::string_view key, RawString raw, Value& inner) {
    if (key != "type")
      return (identifier_like(key) || note(raw, Position::Unknown)) && walk(inner, Position::ToolDefinition);
    if (std::exchange(seen, true))
      return refuse("'response_format.type' appears twice", "duplicate_key", "response_format.type");
    JsonKind what{};
    RawString text{};
    if (!kind(inner, what)) return false;
    if (what != JsonKind::String) return wrong_type("response_format.type", "a string", what);
    if (!string(inner, text)) return false;
    if (text.text == "json_object") need(Cap::JsonObject);
    else if (text.text == "json_schema") need(Cap::JsonSchema);
    else if (text.text != "text") return note(text, Position::Unknown);
    return true;
  });
}

bool AskReader::modalities(Value& value) {
  return elements(value, [&](Value& inner) {
    JsonKind what{};
    RawString text{};
    if (!kind(inner, what)) return false;
    if (what != JsonKind::String) return wrong_type("modalities", "an array of strings", what);
    if (!string(inner, text)) return false;
    if (text.text == "audio") need(Cap::Audio);
    else if (text.text != "text") return note(text, Position::Unknown);
    return true;
  });
}

bool AskReader::definitions(Value& value, std::string_view name) {
  std::uint32_t index = 0;
  bool good = elements(value, [&](Value& inner) {
    JsonKind what{};
    if (!kind(inner, what)) return false;
    if (what != JsonKind::Object) return wrong_type(fmt::format("{}[{}]", name, index), "an object", what);
    ++index;
    if (++ask_.tools > kMostTools)
      return refuse(fmt::format("the request holds more than {} tools", kMostTools), "too_many_tools",
                    std::string(name));
    return walk(inner, Position::ToolDefinition);
  });
  return good;
}

// "none": the tools are there to be read about, not to be called. "required" and a named function must end in a call.
bool AskReader::tool_choice(Value& value, JsonKind what) {
  auto text = [&](Value& inner, std::string_view forces) {
    RawString word{};
    if (!string(inner, word)) return false;
    if (word.text == forces) choice_ = Cap::ForcedTools;
    if (what == JsonKind::String && word.text == "none") choice_ = Cap::None;
    return note(word, Position::Unknown);
  };
  if (what == JsonKind::String) return text(value, "required");
  return fields(value, [&](std::string_view key, RawString raw, Value& inner) {
    JsonKind is{};
    if (!kind(inner, is)) return false;
    if (key == "type" && is == JsonKind::String) return text(inner, "function");
    if (key != "allowed_tools" || is != JsonKind::Object)
      return (identifier_like(key) || note(raw, Position::Unknown)) && walk(inner, Position::Unknown);
    return fields(inner, [&](std::string_view name, RawString written, Value& part) {
      if (!kind(part, is)) return false;
      if (name == "mode" && is == JsonKind::String) return text(part, "required");
      return (identifier_like(name) || note(written, Position::Unknown)) && walk(part, Position::Unknown);
    });
  });
}

bool AskReader::messages(Value& value) {
  return elements(value, [&](Value& inner) {
    JsonKind what{};
    if (!kind(inner, what)) return false;
    if (ask_.messages == kMostMessages)
      return refuse(fmt::format("the request holds more than {} messages", kMostMessages), "too_many_messages",
                    "messages");
    ++ask_.messages;
    if (what != JsonKind::Object) return wrong_type(fmt::format("messages[{}]", ask_.messages - 1), "an object", what);
    return message(inner);
  });
}

// What stands where in a message. Duplicates are refused: two programs could see two different conversations.
constexpr std::array<std::string_view, 6> kMessageKeys{"role",       "content",      "name",
                                                       "tool_calls", "tool_call_id", "function_call"};

bool AskReader::message(Value& value) {
  std::size_t first = ask_.texts.size();
  unsigned seen = 0;
  Position position = Position::Unknown;
  bool calls = false;
  bool good = fields(value, [&](std::string_view key, RawString raw, Value& inner) {
    JsonKind what{};
    if (!kind(inner, what)) return false;
    auto row = static_cast<unsigned>(std::ranges::find(kMessageKeys, key) - kMessageKeys.begin());
    if (row < kMessageKeys.size()) {
      if ((seen >> row & 1) != 0)
        return refuse(fmt::format("'{}' appears twice", in_message(key)), "duplicate_key", in_message(key));
      seen |= 1U << row;
    }
    if (row == 0) {
      if (what != JsonKind::String) return wrong_type(in_message("role"), "a string", what);
      RawString role{};
      if (!string(inner, role)) return false;
      auto found = position_of(role.escaped ? std::string_view{json::unescape(role.text)} : role.text);
      position = found.value_or(Position::Unknown);
      return found || note(role, Position::Unknown);
    }
    if (row == 1) return content(inner, what);
    if (row == 2) return walk(inner, Position::Name);
    if (row == 4) return walk(inner, Position::Metadata);
    if (row == 3 || row == 5) {
      if (row == 3 && what != JsonKind::Array && what != JsonKind::Null)
        return wrong_type(in_message("tool_calls"), "an array", what);
      calls = calls || what != JsonKind::Null;
      return walk(inner, Position::ToolArgument);
    }
    if (key == "refusal" || key == "reasoning_content" || key == "reasoning") return walk(inner, kByRole);
    return (identifier_like(key) || note(raw, Position::Unknown)) && walk(inner, Position::Unknown);
  });
  if (!good) return false;
  if ((seen & 1) == 0) return missing(in_message("role"), "say who speaks: system, user, assistant or tool");
  ask_.answers_tools = position == Position::ToolResult;
  ask_.tool_history = ask_.tool_history || ask_.answers_tools || calls;
  for (std::size_t i = first; i < ask_.texts.size(); ++i)
    if (ask_.texts[i].position == kByRole) ask_.texts[i].position = position;
  return true;
}

bool AskReader::content(Value& value, JsonKind kind) {
  RawString text{};
  std::string_view token;
  if (kind == JsonKind::String) return string(value, text) && note(text, kByRole);
  if (kind == JsonKind::Null) return scalar(value, token);
  if (kind != JsonKind::Array) return wrong_type(in_message("content"), "a string or an array of parts", kind);
  std::uint32_t index = 0;
  return elements(value, [&](Value& inner) { return part(inner, index++); });
}

bool AskReader::part(Value& value, std::uint32_t index) {
  auto name = [&](std::string_view key) {
    return fmt::format("messages[{}].content[{}]{}", ask_.messages - 1, index, key);
  };
  JsonKind what{};
  if (!kind(value, what)) return false;
  if (what != JsonKind::Object) return wrong_type(name(""), "an object", what);
  bool typed = false;
  bool good = fields(value, [&](std::string_view key, RawString raw, Value& inner) {
    if (key == "image_url" || key == "input_audio" || key == "file") {
      if (key == "image_url") {
        ++ask_.images;
        need(Cap::Vision);
      }
      if (key == "input_audio") need(Cap::Audio);
      return media(inner, key == "input_audio");
    }
    if (key != "type") return (identifier_like(key) || note(raw, kByRole)) && walk(inner, kByRole);
    if (std::exchange(typed, true))
      return refuse(fmt::format("'{}' appears twice", name(".type")), "duplicate_key", name(".type"));
    RawString type{};
    if (!kind(inner, what)) return false;
    if (what != JsonKind::String) return wrong_type(name(".type"), "a string", what);
    return string(inner, type) && (identifier_like(type.text) || note(type, Position::Unknown));
  });
  return good && (typed || missing(name(".type"), "say what the part is, such as \"text\""));
}

// An image, a sound or a file: encoded bytes are not text, names and addresses are.
bool AskReader::media(Value& value, bool raw_data) {
  JsonKind what{};
  if (!kind(value, what)) return false;
  if (what == JsonKind::Object)
    return fields(value, [&](std::string_view key, RawString raw, Value& inner) {
      RawString text{};
      if (!kind(inner, what)) return false;
      if (raw_data && key == "data" && what == JsonKind::String) return string(inner, text);
      if (what == JsonKind::String) return string(inner, text) && (base64_url(text.text) || note(text, kByRole));
      return (identifier_like(key) || note(raw, kByRole)) && walk(inner, kByRole);
    });
  RawString text{};
  if (what == JsonKind::String) return string(value, text) && (base64_url(text.text) || note(text, kByRole));
  return walk(value, kByRole);
}
} // namespace

Result<Ask> read_chat_ask(std::string_view body) {
  if (body.size() > kMostBody)
    return fail(FailureKind::TooLarge, Fault::Client, "the request body is larger than 1 GiB", "body_too_large");
  return AskReader(body).read();
}
} // namespace intertie::wire
