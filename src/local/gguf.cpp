#include "local/gguf.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "core/text.hpp"

static_assert(std::endian::native == std::endian::little, "GGUF is little-endian and read as it is");

namespace intertie::local {
namespace {
// Far above every real file, far below what could hurt.
constexpr std::uint64_t kMaxEntries = 65'536;
constexpr std::uint64_t kMaxTensors = 131'072;
constexpr std::uint64_t kMaxKey = 1024;
constexpr std::uint64_t kMaxString = 16u << 20;
constexpr std::uint64_t kMaxHeader = 256u << 20;
constexpr std::uint64_t kMaxElements = 1u << 26;
constexpr std::uint64_t kMaxAlignment = 1u << 20;

enum ValueType : std::uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };
constexpr std::array<std::uint32_t, 13> kValueBytes{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

std::unexpected<Failure> broken(std::string what) {
  return fail(FailureKind::BadRequest, Fault::LocalResource, std::move(what), "bad_model_file");
}

// A window over the file that moves forward only. After the first failure every read gives zeros and ok() is false.
class Reader {
 public:
  Reader(const ReadAt& read, std::uint64_t file_bytes)
      : read_(read), file_bytes_(std::min(file_bytes, kMaxHeader)), cut_(file_bytes > kMaxHeader) {}
  bool ok() const { return ok_; }
  bool too_large() const { return cut_; }
  std::uint64_t position() const { return window_at_ + next_; }
  std::uint64_t left() const { return file_bytes_ - position(); }

  template <class T>
  T number() {
    T value{};
    if (need(sizeof(T))) {
      std::memcpy(&value, window_.data() + next_, sizeof(T));
      next_ += sizeof(T);
    }
    return value;
  }
  std::string string(std::uint64_t most) {
    auto length = number<std::uint64_t>();
    if (!ok_ || length > most || length > left()) {
      ok_ = false;
      return {};
    }
    std::string out;
    while (out.size() < length) {
      if (next_ == window_.size() && !refill(1)) return {};
      auto take = std::min<std::uint64_t>(length - out.size(), window_.size() - next_);
      out.append(window_.data() + next_, take);
      next_ += take;
    }
    return out;
  }
  std::uint64_t skip_string() {
    auto length = number<std::uint64_t>();
    if (!ok_ || length > kMaxString) {
      ok_ = false;
      return 0;
    }
    skip(length);
    return length;
  }
  void skip(std::uint64_t count) {
    if (!ok_ || count > left()) {
      ok_ = false;
      return;
    }
    if (count <= window_.size() - next_) {
      next_ += count;
      return;
    }
    window_at_ = position() + count;
    window_.clear();
    next_ = 0;
  }

 private:
  static constexpr std::size_t kWindow = 64 * 1024;
  bool need(std::size_t count) { return ok_ && (window_.size() - next_ >= count || refill(count)); }
  bool refill(std::size_t count) {
    if (!ok_ || count > left()) return ok_ = false;
    window_.erase(0, next_);
    window_at_ += next_;
    next_ = 0;
    auto had = window_.size();
    auto want = std::min<std::uint64_t>(kWindow, file_bytes_ - window_at_ - had);
    window_.resize(had + want);
    window_.resize(had + read_(window_at_ + had, window_.data() + had, want));
    return ok_ = window_.size() >= count;
  }

  const ReadAt& read_;
  std::uint64_t file_bytes_;
  bool cut_;
  bool ok_ = true;
  std::uint64_t window_at_ = 0;
  std::string window_;
  std::size_t next_ = 0;
};

struct Value {
  std::uint32_t type = 0;
  std::uint64_t integer = 0; // negative numbers are clamped to 0: nothing we read may be negative
  double real = 0;
  std::string text;
  std::uint64_t count = 0;            // of an array
  std::uint64_t text_bytes = 0;       // of an array of strings
  std::vector<std::uint32_t> numbers; // of a short array of integers
};

std::uint64_t read_integer(Reader& in, std::uint32_t type) {
  auto positive = [](std::int64_t v) { return v < 0 ? std::uint64_t{0} : static_cast<std::uint64_t>(v); };
  switch (type) {
    case U8:
    case Bool: return in.number<std::uint8_t>();
    case I8: return positive(in.number<std::int8_t>());
    case U16: return in.number<std::uint16_t>();
    case I16: return positive(in.number<std::int16_t>());
    case U32: return in.number<std::uint32_t>();
    case I32: return positive(in.number<std::int32_t>());
    case U64: return in.number<std::uint64_t>();
    case I64: return positive(in.number<std::int64_t>());
    default: return 0;
  }
}
bool is_integer(std::uint32_t type) { return type <= I32 || type == Bool || type == U64 || type == I64; }

bool read_array(Reader& in, Value& value) {
  constexpr std::uint64_t kShort = 4096;
  auto element = in.number<std::uint32_t>();
  value.count = in.number<std::uint64_t>();
  if (!in.ok() || element >= kValueBytes.size() || element == Array || value.count > kMaxElements ||
      value.count * kValueBytes[element] > in.left())
    return false;
  if (element == String) {
    for (std::uint64_t i = 0; i < value.count && in.ok(); ++i) value.text_bytes += in.skip_string();
  } else if (is_integer(element) && value.count <= kShort) {
    for (std::uint64_t i = 0; i < value.count; ++i)
      value.numbers.push_back(
          static_cast<std::uint32_t>(std::min<std::uint64_t>(read_integer(in, element), UINT32_MAX)));
  } else {
    in.skip(value.count * kValueBytes[element]);
  }
  return in.ok();
}

bool read_value(Reader& in, Value& value) {
  value.type = in.number<std::uint32_t>();
  if (!in.ok() || value.type >= kValueBytes.size()) return false;
  if (value.type == Array) return read_array(in, value);
  if (value.type == String) value.text = in.string(kMaxString);
  else if (value.type == F32) value.real = static_cast<double>(in.number<float>());
  else if (value.type == F64) value.real = in.number<double>();
  else value.integer = read_integer(in, value.type);
  return in.ok();
}

std::uint32_t small(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, UINT32_MAX));
}

// llama.cpp's enum llama_ftype.
std::string_view file_type_name(std::uint64_t type) {
  constexpr std::array<std::string_view, 39> kNames{
      "F32",    "F16",    "Q4_0",   "Q4_1",    "",       "",       "",       "Q8_0",   "Q5_0",  "Q5_1",
      "Q2_K",   "Q3_K_S", "Q3_K_M", "Q3_K_L",  "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K",  "IQ2_XXS",
      "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S",  "IQ4_NL", "IQ3_S",  "IQ3_M",  "IQ2_S", "IQ2_M",
      "IQ4_XS", "IQ1_M",  "BF16",   "",        "",       "",       "TQ1_0",  "TQ2_0",  "MXFP4"};
  return type < kNames.size() ? kNames[type] : std::string_view{};
}

struct Entries {
  Gguf& out;
  std::string kind{}; // general.type
  std::uint64_t file_type = UINT64_MAX;
  std::uint64_t alignment = 32;
  bool pooling = false;
  std::uint64_t split_count = 0;

  void general(std::string_view key, Value& value) {
    if (key == "general.architecture") out.architecture = value.text.substr(0, 64);
    else if (key == "general.name") out.name = value.text.substr(0, 256);
    else if (key == "general.type") kind = value.text.substr(0, 64);
    else if (key == "general.file_type") file_type = value.integer;
    else if (key == "general.alignment") alignment = value.integer;
    else if (key == "split.count") split_count = value.integer;
    else if (key == "tokenizer.chat_template") {
      out.chat_template = !value.text.empty();
      out.tools = value.text.find("tools") != std::string::npos;
    } else if (key == "tokenizer.ggml.tokens") {
      out.vocabulary = small(value.count);
      out.vocabulary_bytes += value.text_bytes;
    } else if (key == "tokenizer.ggml.merges") {
      out.merges = value.count;
      out.vocabulary_bytes += value.text_bytes;
    }
  }
  void architecture(std::string_view key, const Value& value) {
    auto number = small(value.numbers.empty() ? value.integer : *std::ranges::max_element(value.numbers));
    if (key == "context_length") out.context = number;
    else if (key == "embedding_length") out.embedding = number;
    else if (key == "feed_forward_length") out.feed_forward = number;
    else if (key == "block_count") out.layers = number;
    else if (key == "attention.head_count") out.heads = number;
    else if (key == "attention.head_count_kv")
      out.kv_heads = value.numbers.empty() ? std::vector<std::uint32_t>{number} : value.numbers;
    else if (key == "attention.key_length") out.key_length = number;
    else if (key == "attention.value_length") out.value_length = number;
    else if (key == "attention.sliding_window") out.sliding_window = number;
    else if (key == "expert_count") out.experts = number;
    else if (key == "vocab_size" && out.vocabulary == 0) out.vocabulary = number;
    else if (key == "pooling_type") pooling = value.integer != 0;
  }
};

Result<> read_entries(Reader& in, std::uint64_t count, Entries& entries) {
  std::map<std::string, Value> own; // "<architecture>.…": the architecture may be named after them
  for (std::uint64_t i = 0; i < count; ++i) {
    auto key = in.string(kMaxKey);
    Value value;
    if (!in.ok() || !read_value(in, value))
      return broken(fmt::format("failed to read key-value pairs: entry {} of {} is broken; download the file again",
                                i + 1, count));
    if (key.starts_with("general.") || key.starts_with("tokenizer.") || key.starts_with("split."))
      entries.general(key, value);
    else if (own.size() < 1024) own.emplace(std::move(key), std::move(value));
  }
  auto prefix = entries.out.architecture + ".";
  for (const auto& [key, value] : own)
    if (key.starts_with(prefix)) entries.architecture(std::string_view{key}.substr(prefix.size()), value);
  return {};
}

Result<> read_tensor(Reader& in, GgufTensor& tensor) {
  tensor.name = in.string(256);
  tensor.dimensions = in.number<std::uint32_t>();
  if (!in.ok() || tensor.dimensions == 0 || tensor.dimensions > 4) return broken("a tensor's description is broken");
  std::uint64_t elements = 1;
  for (std::uint32_t d = 0; d < tensor.dimensions; ++d) {
    auto size = in.number<std::uint64_t>();
    if (size == 0 || __builtin_mul_overflow(elements, size, &elements) || elements > (1ULL << 48))
      return broken(fmt::format("tensor '{}' has impossible dimensions", tensor.name));
    if (d == 0) tensor.columns = size;
    else tensor.rows *= size;
  }
  tensor.type = in.number<std::uint32_t>();
  tensor.offset = in.number<std::uint64_t>();
  if (!in.ok()) return broken("the list of tensors ends too early");
  const auto* type = tensor_type(tensor.type);
  if (type == nullptr)
    return broken(fmt::format("tensor '{}' has type {}, which this version doesn't know", tensor.name, tensor.type));
  if (tensor.columns % type->block != 0)
    return broken(fmt::format("tensor '{}' does not divide into blocks of {}", tensor.name, type->name));
  tensor.bytes = elements / type->block * type->bytes;
  return {};
}

void conclude(Gguf& out, const Entries& entries) {
  std::map<std::uint32_t, std::uint64_t> by_type;
  for (const auto& tensor : out.tensors) {
    out.parameters += tensor.rows * tensor.columns;
    out.weight_bytes += tensor.bytes;
    by_type[tensor.type] += tensor.bytes;
  }
  if (out.heads > 0 && out.key_length == 0) out.key_length = out.embedding / out.heads;
  if (out.heads > 0 && out.value_length == 0) out.value_length = out.embedding / out.heads;
  out.quantisation = file_type_name(entries.file_type);
  auto most = std::ranges::max_element(by_type, {}, [](const auto& entry) { return entry.second; });
  if (out.quantisation.empty() && most != by_type.end()) out.quantisation = tensor_type(most->first)->name;
  bool encoder = out.architecture.ends_with("bert") || out.architecture.find("bert-") != std::string::npos ||
                 out.architecture == "t5encoder" || out.architecture == "gemma-embedding";
  if (out.architecture == "clip" || entries.kind == "mmproj") out.use = GgufUse::Projector;
  else if (entries.kind == "adapter" || entries.kind == "imatrix") out.use = GgufUse::Adapter;
  else if (out.tensors.empty() && entries.split_count <= 1) out.use = GgufUse::VocabularyOnly;
  else if (encoder || (entries.pooling && !out.chat_template)) out.use = GgufUse::Embedding;
}
} // namespace

Result<Gguf> parse_gguf(const ReadAt& read, std::uint64_t file_bytes) {
  Reader in(read, file_bytes);
  Gguf out;
  out.file_bytes = file_bytes;
  if (auto magic = in.number<std::uint32_t>(); !in.ok() || magic != 0x46554747)
    return broken("invalid magic: this is not a GGUF file");
  out.version = in.number<std::uint32_t>();
  if (out.version != 2 && out.version != 3)
    return broken(fmt::format("GGUF version {} is not supported (2 and 3 are); convert the file again", out.version));
  auto tensors = in.number<std::uint64_t>();
  auto entry_count = in.number<std::uint64_t>();
  if (!in.ok() || tensors > kMaxTensors || entry_count > kMaxEntries)
    return broken("the header's counts can't be true: the file is corrupted");
  Entries entries{out};
  TRY_VOID(read_entries(in, entry_count, entries));
  if (out.architecture.empty()) return broken("the file doesn't say which architecture it has (general.architecture)");
  if (!std::has_single_bit(entries.alignment) || entries.alignment > kMaxAlignment)
    return broken("the file's alignment is not a power of two");
  for (std::uint64_t i = 0; i < tensors; ++i) {
    GgufTensor tensor;
    TRY_VOID(read_tensor(in, tensor));
    out.tensors.push_back(std::move(tensor));
  }
  auto data_at = (in.position() + entries.alignment - 1) / entries.alignment * entries.alignment;
  for (const auto& tensor : out.tensors) {
    std::uint64_t end = 0;
    if (__builtin_add_overflow(tensor.offset, tensor.bytes, &end) || end > file_bytes || data_at > file_bytes - end)
      return broken(
          fmt::format("tensor '{}' is not within the file bounds: the file is corrupted or incomplete; download it "
                      "again",
                      tensor.name));
  }
  conclude(out, entries);
  return out;
}

namespace {
Result<Gguf> read_one(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return fail(errno == ENOENT ? FailureKind::NotFound : FailureKind::Denied, Fault::LocalResource,
                fmt::format("can't open {}: {}", path, std::strerror(errno)));
  struct stat facts{};
  if (::fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    ::close(fd);
    return broken(fmt::format("{} is not a regular file", path));
  }
  ReadAt read = [fd](std::uint64_t offset, char* to, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
      auto got = ::pread(fd, to + done, size - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  };
  auto gguf = parse_gguf(read, static_cast<std::uint64_t>(facts.st_size));
  ::close(fd);
  if (!gguf) gguf.error().message = fmt::format("{}: {}", path, gguf.error().message);
  return gguf;
}
} // namespace

Result<Gguf> read_gguf(const std::string& path) {
  TRY(auto whole, read_one(path));
  auto name = split_name(std::string_view{path}.substr(path.rfind('/') + 1));
  if (!name) return whole;
  if (name->part != 1)
    return broken(fmt::format("{} is part {} of a split model: name its first part", path, name->part));
  whole.parts = name->parts;
  for (std::uint32_t part = 2; part <= name->parts; ++part) {
    TRY(auto next, read_one(part_path(path, part)));
    whole.file_bytes += next.file_bytes;
    whole.parameters += next.parameters;
    whole.weight_bytes += next.weight_bytes;
    std::ranges::move(next.tensors, std::back_inserter(whole.tensors));
  }
  return whole;
}

std::optional<SplitName> split_name(std::string_view name) {
  constexpr std::string_view kShape = "-00001-of-00003.gguf";
  if (name.size() <= kShape.size()) return std::nullopt;
  auto tail = name.substr(name.size() - kShape.size());
  SplitName split{std::string(name.substr(0, name.size() - kShape.size()))};
  auto number = [](std::string_view digits, std::uint32_t& out) {
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc{} && end == digits.data() + digits.size();
  };
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !tail.ends_with(".gguf") ||
      !number(tail.substr(1, 5), split.part) || !number(tail.substr(10, 5), split.parts))
    return std::nullopt;
  if (split.part == 0 || split.parts < 2 || split.part > split.parts || split.parts > 1000) return std::nullopt;
  return split;
}

std::string part_path(const std::string& first_part, std::uint32_t part) {
  auto path = first_part;
  path.replace(path.size() - std::string_view{"-00001-of-00003.gguf"}.size() + 1, 5, fmt::format("{:05}", part));
  return path;
}
} // namespace intertie::local
