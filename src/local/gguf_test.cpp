#include "local/gguf.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "local/tiny_gguf.hpp"

namespace intertie::local {
namespace {
Result<Gguf> parse(const std::string& bytes) {
  return parse_gguf(
      [&](std::uint64_t offset, char* out, std::size_t size) {
        auto take = offset >= bytes.size() ? 0 : std::min<std::size_t>(size, bytes.size() - offset);
        std::memcpy(out, bytes.data() + offset, take);
        return take;
      },
      bytes.size());
}

TEST(Gguf, ReadsWhatAModelIs) {
  auto gguf = parse(tiny_gguf({.layers = 3,
                               .embedding = 96,
                               .feed_forward = 160,
                               .heads = 6,
                               .kv_heads = 3,
                               .vocabulary = 400,
                               .context = 777,
                               .type = TinyType::Q8_0,
                               .tools = true}));
  ASSERT_TRUE(gguf) << gguf.error().message;
  EXPECT_EQ(gguf->architecture, "llama");
  EXPECT_EQ(gguf->quantisation, "Q8_0");
  EXPECT_EQ(gguf->layers, 3U);
  EXPECT_EQ(gguf->embedding, 96U);
  EXPECT_EQ(gguf->feed_forward, 160U);
  EXPECT_EQ(gguf->heads, 6U);
  EXPECT_EQ(gguf->kv_heads_at(2), 3U);
  EXPECT_EQ(gguf->key_length, 16U);
  EXPECT_EQ(gguf->vocabulary, 400U);
  EXPECT_EQ(gguf->context, 777U);
  EXPECT_TRUE(gguf->chat_template);
  EXPECT_TRUE(gguf->tools);
  EXPECT_EQ(gguf->use, GgufUse::Chat);
  std::uint64_t weights = 2 * 400 * 96 + 3 * (2 * 96 * 96 + 2 * 96 * 48 + 3 * 96 * 160 + 2 * 96) + 96;
  EXPECT_EQ(gguf->parameters, weights);
}
TEST(Gguf, TellsFilesThatAreNoChatModels) {
  EXPECT_EQ(parse(tiny_gguf({.architecture = "bert"}))->use, GgufUse::Embedding);
  EXPECT_EQ(parse(tiny_gguf({.architecture = "clip"}))->use, GgufUse::Projector);
}
TEST(Gguf, EveryTruncationIsAFailureWithAReason) {
  auto whole = tiny_gguf({.vocabulary = 300});
  for (std::size_t size = 0; size < whole.size(); size += size < 12'000 ? 1 : 997) {
    auto gguf = parse(whole.substr(0, size));
    ASSERT_FALSE(gguf) << size;
    EXPECT_FALSE(gguf.error().message.empty());
  }
  auto cut = parse(whole.substr(0, whole.size() - 1));
  EXPECT_NE(cut.error().message.find("not within the file bounds"), std::string::npos) << cut.error().message;
}
TEST(Gguf, RefusesImpossibleCounts) {
  auto patch = [](std::size_t at, std::uint64_t value) {
    auto bytes = tiny_gguf({.vocabulary = 300});
    std::memcpy(bytes.data() + at, &value, sizeof value);
    return parse(bytes);
  };
  EXPECT_FALSE(patch(8, 1ULL << 60));  // tensors
  EXPECT_FALSE(patch(16, 1ULL << 60)); // entries
  EXPECT_FALSE(patch(24, 1ULL << 40)); // length of the first key
  EXPECT_NE(patch(4, 9).error().message.find("version"), std::string::npos);
  EXPECT_NE(patch(0, 7).error().message.find("invalid magic"), std::string::npos);
}
TEST(Gguf, FlippedHeaderBytesNeverHurt) {
  auto whole = tiny_gguf({.vocabulary = 300});
  std::uint32_t random = 7;
  for (int i = 0; i < 4000; ++i) {
    auto bytes = whole;
    for (int flips = 0; flips < 3; ++flips) {
      random = random * 1664525U + 1013904223U;
      bytes[(random >> 8) % 12'000] = static_cast<char>(random);
    }
    auto gguf = parse(bytes);
    if (gguf) EXPECT_LE(gguf->tensors.size(), 131'072U);
  }
}
TEST(Gguf, SplitNames) {
  auto split = split_name("big-00001-of-00003.gguf");
  ASSERT_TRUE(split);
  EXPECT_EQ(split->stem, "big");
  EXPECT_EQ(split->parts, 3U);
  EXPECT_EQ(part_path("/m/big-00001-of-00003.gguf", 3), "/m/big-00003-of-00003.gguf");
  EXPECT_FALSE(split_name("big-00004-of-00003.gguf"));
  EXPECT_FALSE(split_name("big.gguf"));
  EXPECT_FALSE(split_name("-0001-of-00003.gguf"));
}
TEST(Gguf, MissingAndOddFiles) {
  EXPECT_EQ(read_gguf("/nowhere/x.gguf").error().kind, FailureKind::NotFound);
  EXPECT_NE(read_gguf("/").error().message.find("not a regular file"), std::string::npos);
}
} // namespace
} // namespace intertie::local
