// Reads the header of a GGUF file: what the model is, how large its tensors are, and whether the file is whole. It never
// maps the file, never reads weights and trusts no number in it: every count and size is checked against a limit and
// against the bytes that are there. Pure apart from reading the file; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace intertie::local {

// What a file can be used for. Only Chat is offered as a model to talk to.
enum class GgufUse : std::uint8_t { Chat, Embedding, Projector, Adapter, VocabularyOnly };

struct GgufTensor {
  std::string name;
  std::uint64_t rows = 1;    // product of all dimensions but the first
  std::uint64_t columns = 1; // the first dimension
  std::uint32_t dimensions = 1;
  std::uint32_t type = 0;   // ggml's number; see tensor_type()
  std::uint64_t offset = 0; // from the start of the data
  std::uint64_t bytes = 0;
};

struct Gguf {
  std::uint32_t version = 0;
  std::string architecture; // "llama"
  std::string name;         // general.name, may be empty
  std::string quantisation; // "Q4_0"; the file's own type, else the type most bytes have
  GgufUse use = GgufUse::Chat;
  std::uint64_t file_bytes = 0;   // all parts
  std::uint64_t weight_bytes = 0; // of all tensors
  std::uint64_t parameters = 0;
  std::uint32_t context = 0; // tokens it was trained for
  std::uint32_t embedding = 0;
  std::uint32_t feed_forward = 0;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::vector<std::uint32_t> kv_heads; // one per layer, or one for all
  std::uint32_t key_length = 0;        // of one head
  std::uint32_t value_length = 0;
  std::uint32_t sliding_window = 0;
  std::uint32_t experts = 0;
  std::uint32_t vocabulary = 0;       // tokens
  std::uint64_t vocabulary_bytes = 0; // of all tokens and merges: what the tokenizer has to hold
  std::uint64_t merges = 0;
  std::uint32_t parts = 1; // files this model is split into
  bool chat_template = false;
  bool tools = false; // the template knows about tools
  std::vector<GgufTensor> tensors;

  std::uint32_t kv_heads_at(std::uint32_t layer) const {
    return kv_heads.empty() ? heads : layer < kv_heads.size() ? kv_heads[layer] : kv_heads.back();
  }
};

struct TensorType {
  std::string_view name;
  std::uint32_t block; // elements in a block
  std::uint32_t bytes; // of a block
};
const TensorType* tensor_type(std::uint32_t type); // nullptr when unknown

// Bytes [offset, offset + size) of the file into `out`; returns how many there were.
using ReadAt = std::function<std::size_t(std::uint64_t offset, char* out, std::size_t size)>;

// Failures: BadRequest (Fault::LocalResource) with what is wrong: not a GGUF, unknown version, a count that can't be
// true, "tensor 'x' is not within the file bounds: the file is corrupted or incomplete", architecture missing.
Result<Gguf> parse_gguf(const ReadAt& read, std::uint64_t file_bytes);
// The same for a file; a split model is named by its first part ("…-00001-of-00003.gguf") and read whole.
Result<Gguf> read_gguf(const std::string& path);

// For "x-00001-of-00003.gguf": {"x", 1, 3}; nothing for other names.
struct SplitName {
  std::string stem;
  std::uint32_t part = 0;
  std::uint32_t parts = 0;
};
std::optional<SplitName> split_name(std::string_view file_name);
std::string part_path(const std::string& first_part, std::uint32_t part);

} // namespace intertie::local
