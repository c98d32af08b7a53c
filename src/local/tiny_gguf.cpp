#include "local/tiny_gguf.hpp"

#include <cstring>
#include <fstream>
#include <random>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/text.hpp"

namespace intertie::local {
namespace {
enum : std::uint32_t { kU32 = 4, kI32 = 5, kFloat = 6, kText = 8, kArray = 9 };

class Writer {
 public:
  template <class T>
  void number(T value) {
    append(&value, sizeof value);
  }
  void append(const void* bytes, std::size_t count) { out.append(static_cast<const char*>(bytes), count); }
  void text(std::string_view value) {
    number<std::uint64_t>(value.size());
    out += value;
  }
  void key(std::string_view name, std::uint32_t type) {
    text(name);
    number(type);
    ++entries;
  }
  void add(std::string_view name, std::uint32_t value) {
    key(name, kU32);
    number(value);
  }
  void add(std::string_view name, float value) {
    key(name, kFloat);
    number(value);
  }
  void add(std::string_view name, std::string_view value) {
    key(name, kText);
    text(value);
  }
  void add(std::string_view name, const std::vector<std::string>& values) {
    key(name, kArray);
    number(kText);
    number<std::uint64_t>(values.size());
    for (const auto& value : values) text(value);
  }
  void add(std::string_view name, const std::vector<std::int32_t>& values) {
    key(name, kArray);
    number(kI32);
    number<std::uint64_t>(values.size());
    for (auto value : values) number(value);
  }
  void align(std::size_t to) { out.resize((out.size() + to - 1) / to * to, '\0'); }

  std::string out;
  std::uint64_t entries = 0;
};

// GPT-2's byte-level alphabet: printable bytes stand for themselves, the others for U+0100 and up.
std::vector<std::string> byte_alphabet() {
  std::vector<std::string> tokens;
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    std::string token;
    text::append_utf8(token, itself ? byte : next++);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

constexpr std::string_view kTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
constexpr std::string_view kToolTemplate =
    "{% if tools %}<|im_start|>system\nTools: {% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% "
    "endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}{% if message.tool_calls %}"
    "{% for call in message.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{% endif "
    "%}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

void add_vocabulary(Writer& writer, const TinyShape& shape) {
  auto tokens = byte_alphabet();
  std::vector<std::int32_t> types(tokens.size(), 1);
  std::vector<std::string> merges{"t h", "h e", "i n", "a n"};
  for (const auto* merged : {"th", "he", "in", "an"}) {
    tokens.emplace_back(merged);
    types.push_back(1);
  }
  auto special = static_cast<std::uint32_t>(tokens.size());
  for (const auto* name : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    tokens.emplace_back(name);
    types.push_back(3);
  }
  while (tokens.size() < shape.vocabulary) {
    tokens.push_back(fmt::format("w{:06}", tokens.size()));
    types.push_back(1);
  }
  writer.add("tokenizer.ggml.model", "gpt2");
  writer.add("tokenizer.ggml.pre", "gpt-2");
  writer.add("tokenizer.ggml.tokens", tokens);
  writer.add("tokenizer.ggml.token_type", types);
  writer.add("tokenizer.ggml.merges", merges);
  writer.add("tokenizer.ggml.bos_token_id", special);
  writer.add("tokenizer.ggml.eos_token_id", special + 2);
  writer.add("tokenizer.ggml.padding_token_id", special);
  writer.add("tokenizer.chat_template", shape.tools ? kToolTemplate : kTemplate);
}

struct Tensor {
  std::string name;
  std::uint64_t columns;
  std::uint64_t rows; // 0: one-dimensional, F32, all ones (a norm)
};

std::vector<Tensor> tensors_of(const TinyShape& shape) {
  std::uint64_t embedding = shape.embedding;
  std::uint64_t kv = embedding / shape.heads * shape.kv_heads;
  std::vector<Tensor> all{{"token_embd.weight", embedding, shape.vocabulary}};
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}.weight", layer, part); };
    all.insert(all.end(), {{name("attn_norm"), embedding, 0},
                           {name("attn_q"), embedding, embedding},
                           {name("attn_k"), embedding, kv},
                           {name("attn_v"), embedding, kv},
                           {name("attn_output"), embedding, embedding},
                           {name("ffn_norm"), embedding, 0},
                           {name("ffn_gate"), embedding, shape.feed_forward},
                           {name("ffn_up"), embedding, shape.feed_forward},
                           {name("ffn_down"), shape.feed_forward, embedding}});
  }
  all.push_back({"output_norm.weight", embedding, 0});
  all.push_back({"output.weight", embedding, shape.vocabulary});
  return all;
}

struct Blocks {
  std::uint32_t type;
  std::uint64_t elements;
  std::size_t bytes;
};
Blocks blocks_of(TinyType type) {
  switch (type) {
    case TinyType::Q8_0: return {8, 32, 34};
    case TinyType::Q4_0: return {2, 32, 18};
    case TinyType::F16: break;
  }
  return {1, 1, 2};
}

void add_weights(Writer& writer, const Tensor& tensor, TinyType type, std::minstd_rand& random) {
  if (tensor.rows == 0) {
    for (std::uint64_t i = 0; i < tensor.columns; ++i) writer.number(1.0F);
    return;
  }
  auto blocks = blocks_of(type);
  std::vector<char> block(blocks.bytes);
  for (std::uint64_t i = 0; i < tensor.columns * tensor.rows / blocks.elements; ++i) {
    for (auto& byte : block) byte = static_cast<char>(random() >> 7);
    // Halves near ±0.02 … 0.06 as weights; blocks with a scale that keeps their values as small.
    std::uint16_t half = type == TinyType::F16    ? static_cast<std::uint16_t>(0x2400U | (random() & 0x83FFU))
                         : type == TinyType::Q8_0 ? 0x0C00
                                                  : 0x1C00;
    std::memcpy(block.data(), &half, sizeof half);
    writer.append(block.data(), block.size());
  }
}
} // namespace

std::string tiny_gguf(const TinyShape& shape) {
  Writer entries;
  const auto& name = shape.architecture;
  std::uint32_t file_type = shape.type == TinyType::F16 ? 1 : shape.type == TinyType::Q8_0 ? 7 : 2;
  entries.add("general.architecture", std::string_view{name});
  entries.add("general.name", "tiny");
  entries.add("general.file_type", file_type);
  entries.add(name + ".context_length", shape.context);
  entries.add(name + ".embedding_length", shape.embedding);
  entries.add(name + ".block_count", shape.layers);
  entries.add(name + ".feed_forward_length", shape.feed_forward);
  entries.add(name + ".attention.head_count", shape.heads);
  entries.add(name + ".attention.head_count_kv", shape.kv_heads);
  entries.add(name + ".attention.layer_norm_rms_epsilon", 1e-5F);
  entries.add(name + ".rope.dimension_count", shape.embedding / shape.heads);
  entries.add(name + ".rope.freq_base", 10000.0F);
  add_vocabulary(entries, shape);

  auto tensors = tensors_of(shape);
  Writer weights, table;
  std::minstd_rand random(shape.seed);
  auto blocks = blocks_of(shape.type);
  for (const auto& tensor : tensors) {
    weights.align(32);
    table.text(tensor.name);
    table.number<std::uint32_t>(tensor.rows == 0 ? 1 : 2);
    table.number(tensor.columns);
    if (tensor.rows != 0) table.number(tensor.rows);
    table.number<std::uint32_t>(tensor.rows == 0 ? 0 : blocks.type);
    table.number<std::uint64_t>(weights.out.size());
    add_weights(weights, tensor, shape.type, random);
  }
  Writer file;
  file.out = "GGUF";
  file.number<std::uint32_t>(3);
  file.number<std::uint64_t>(tensors.size());
  file.number(entries.entries);
  file.out += entries.out;
  file.out += table.out;
  file.align(32);
  file.out += weights.out;
  return std::move(file.out);
}

Result<> write_tiny_gguf(const std::string& path, const TinyShape& shape) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << tiny_gguf(shape);
  file.close();
  if (!file) return fail(FailureKind::Unavailable, Fault::LocalResource, fmt::format("can't write {}", path));
  return {};
}
} // namespace intertie::local
