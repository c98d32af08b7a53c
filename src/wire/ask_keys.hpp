// The fields of a Chat Completions request that Intertie looks at, and what each must be. Everything else is carried
// untouched. Internal to wire; a table, no behaviour but lookup.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "wire/json_read.hpp"

namespace intertie::wire {

enum class Field : std::uint8_t {
  Model,
  Messages,
  Stream,
  StreamOptions,
  MaxTokens,
  MaxCompletionTokens,
  Tools,
  Functions,
  ResponseFormat,
  Choices,
  Logprobs,
  TopLogprobs,
  Modalities,
  ToolChoice,
  Audio,
  Metadata,
  MetadataText,
  Text, // Text: strings in it are Position::Unknown
};

struct FieldRow {
  std::string_view name;
  Field field;
  std::uint8_t kinds;      // bits of JsonKind; null is always fine except where the reader says otherwise
  std::string_view wanted; // for the message: "must be …"
};

constexpr std::uint8_t bits(JsonKind a) { return static_cast<std::uint8_t>(a); }
constexpr std::uint8_t kString = bits(JsonKind::String), kNumber = bits(JsonKind::Number), kBool = bits(JsonKind::Bool),
                       kArray = bits(JsonKind::Array), kObject = bits(JsonKind::Object);

// A key that stands here may appear only once.
inline constexpr std::array<FieldRow, 36> kAskFields{{
    {"model", Field::Model, kString, "a string"},
    {"messages", Field::Messages, kArray, "an array of messages"},
    {"stream", Field::Stream, kBool, "true or false"},
    {"stream_options", Field::StreamOptions, kObject, "an object"},
    {"max_tokens", Field::MaxTokens, kNumber, "an integer"},
    {"max_completion_tokens", Field::MaxCompletionTokens, kNumber, "an integer"},
    {"tools", Field::Tools, kArray, "an array of tools"},
    {"functions", Field::Functions, kArray, "an array of functions"},
    {"response_format", Field::ResponseFormat, kObject, "an object"},
    {"n", Field::Choices, kNumber, "an integer"},
    {"logprobs", Field::Logprobs, kBool, "true or false"},
    {"top_logprobs", Field::TopLogprobs, kNumber, "an integer"},
    {"modalities", Field::Modalities, kArray, "an array of strings"},
    {"audio", Field::Audio, kObject, "an object"},
    {"metadata", Field::Metadata, kObject, "an object"},
    {"user", Field::MetadataText, kString, "a string"},
    {"safety_identifier", Field::MetadataText, kString, "a string"},
    {"prompt_cache_key", Field::MetadataText, kString, "a string"},
    {"temperature", Field::Text, kNumber, "a number"},
    {"top_p", Field::Text, kNumber, "a number"},
    {"presence_penalty", Field::Text, kNumber, "a number"},
    {"frequency_penalty", Field::Text, kNumber, "a number"},
    {"seed", Field::Text, kNumber, "an integer"},
    {"stop", Field::Text, kString | kArray, "a string or an array of strings"},
    {"tool_choice", Field::ToolChoice, kString | kObject, "a string or an object"},
    {"function_call", Field::Text, kString | kObject, "a string or an object"},
    {"parallel_tool_calls", Field::Text, kBool, "true or false"},
    {"logit_bias", Field::Text, kObject, "an object"},
    {"store", Field::Text, kBool, "true or false"},
    {"service_tier", Field::Text, kString, "a string"},
    {"reasoning_effort", Field::Text, kString, "a string"},
    {"verbosity", Field::Text, kString, "a string"},
    {"prediction", Field::Text, kObject, "an object"},
    {"web_search_options", Field::Text, kObject, "an object"},
    {"top_k", Field::Text, kNumber, "a number"},
    {"min_p", Field::Text, kNumber, "a number"},
}};
static_assert(kAskFields.size() <= 64, "the reader keeps one bit per row");

// Open addressing over length, first and last character: one probe for nearly every key of a request.
template <std::size_t N>
class KeyIndex {
 public:
  constexpr explicit KeyIndex(const std::array<FieldRow, N>& rows) : rows_(rows) {
    slots_.fill(0xFF);
    for (std::size_t i = 0; i < N; ++i) {
      std::size_t slot = hash(rows[i].name);
      while (slots_[slot] != 0xFF) slot = (slot + 1) % slots_.size();
      slots_[slot] = static_cast<std::uint8_t>(i);
    }
  }
  // Index of the row, or -1.
  constexpr int find(std::string_view key) const {
    if (key.empty()) return -1;
    for (std::size_t slot = hash(key); slots_[slot] != 0xFF; slot = (slot + 1) % slots_.size())
      if (rows_[slots_[slot]].name == key) return slots_[slot];
    return -1;
  }

 private:
  static constexpr std::size_t hash(std::string_view key) {
    auto byte = [](char c) { return static_cast<std::size_t>(static_cast<unsigned char>(c)); };
    return (key.size() * 7 + byte(key.front()) * 3 + byte(key.back()) * 31) % 128;
  }
  const std::array<FieldRow, N>& rows_;
  std::array<std::uint8_t, 128> slots_{};
};
inline constexpr KeyIndex kAskIndex{kAskFields};
} // namespace intertie::wire
