// What every family of detectors uses: a fast search for a literal, character classes, boundaries. Internal to guard;
// pure. A detector looks for a cheap trigger first and inspects a bounded neighbourhood of it, so that it stays linear.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "guard/scan.hpp"

namespace intertie::guard {

// One row of the registry each; the families are email.cpp, payment_card.cpp, private_key.cpp, api_keys.cpp.
void find_email(std::string_view text, Sink sink, void* to);
void find_payment_card(std::string_view text, Sink sink, void* to);
void find_private_key(std::string_view text, Sink sink, void* to);
void find_openai_key(std::string_view text, Sink sink, void* to);
void find_anthropic_key(std::string_view text, Sink sink, void* to);
void find_aws_key(std::string_view text, Sink sink, void* to);
void find_github_token(std::string_view text, Sink sink, void* to);
void find_gitlab_token(std::string_view text, Sink sink, void* to);
void find_slack_token(std::string_view text, Sink sink, void* to);
void find_stripe_key(std::string_view text, Sink sink, void* to);
void find_google_key(std::string_view text, Sink sink, void* to);
void find_groq_key(std::string_view text, Sink sink, void* to);
void find_xai_key(std::string_view text, Sink sink, void* to);
void find_huggingface_token(std::string_view text, Sink sink, void* to);
void find_npm_token(std::string_view text, Sink sink, void* to);
void find_sendgrid_key(std::string_view text, Sink sink, void* to);
void find_twilio_key(std::string_view text, Sink sink, void* to);
void find_telegram_token(std::string_view text, Sink sink, void* to);
void find_jwt(std::string_view text, Sink sink, void* to);

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool is_letter(char c) { return is_upper(c) || is_lower(c); }
constexpr bool is_alnum(char c) { return is_letter(c) || is_digit(c); }
constexpr bool is_word(char c) { return is_alnum(c) || c == '_' || c == '-'; } // base64url's alphabet
constexpr bool is_base64(char c) { return is_alnum(c) || c == '+' || c == '/'; }
constexpr bool is_hex_lower(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

// A letter that is the end of an escape such as \n (JSON or source code inside the text) is no word.
inline bool after_escape(std::string_view text, std::size_t at) {
  return at >= 2 && text[at - 2] == '\\' && std::string_view{"nrtbf"}.find(text[at - 1]) != std::string_view::npos;
}
// May a token begin at `at`? Not in the middle of a longer word.
inline bool starts_token(std::string_view text, std::size_t at) {
  return at == 0 || !is_word(text[at - 1]) || after_escape(text, at);
}
inline bool ends_token(std::string_view text, std::size_t at) { return at >= text.size() || !is_word(text[at]); }

inline bool matches(const char* bytes, std::string_view literal) {
  for (std::size_t i = 0; i < literal.size(); ++i)
    if (bytes[i] != literal[i] && literal[i] != '?') return false;
  return true;
}

// The first occurrence of `literal` (2 to 32 bytes; ? stands for any byte, not first or last) at or behind `from`; npos
// when there is none. Compares the first and the last byte 16 positions at a time, which text without a hit makes
// cheap.
inline std::size_t find_literal(std::string_view text, std::string_view literal, std::size_t from = 0) {
  const std::size_t size = literal.size();
  if (text.size() < size) return std::string_view::npos;
  std::size_t at = from;
#if defined(__SSE2__)
  const __m128i first = _mm_set1_epi8(literal.front()), last = _mm_set1_epi8(literal.back());
  const char* bytes = text.data();
  for (; at + size - 1 + 16 <= text.size(); at += 16) {
    __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + at));
    __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + at + size - 1));
    auto hits =
        static_cast<unsigned>(_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(a, first), _mm_cmpeq_epi8(b, last))));
    for (; hits != 0; hits &= hits - 1) {
      std::size_t hit = at + static_cast<std::size_t>(__builtin_ctz(hits));
      if (matches(bytes + hit, literal)) return hit;
    }
  }
#endif
  for (; at + size <= text.size(); ++at)
    if (matches(text.data() + at, literal)) return at;
  return std::string_view::npos;
}

// The first digit at or behind `from`; npos when there is none.
inline std::size_t find_digit(std::string_view text, std::size_t from) {
  std::size_t at = from;
#if defined(__SSE2__)
  const __m128i zero = _mm_set1_epi8('0'), nine = _mm_set1_epi8(9);
  for (; at + 16 <= text.size(); at += 16) {
    __m128i off = _mm_sub_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at)), zero);
    auto hits = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(off, nine), off)));
    if (hits != 0) return at + static_cast<std::size_t>(__builtin_ctz(hits));
  }
#endif
  for (; at < text.size(); ++at)
    if (is_digit(text[at])) return at;
  return std::string_view::npos;
}

inline void report(Sink sink, void* to, std::size_t begin, std::size_t end, float score) {
  sink(to, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), score);
}
} // namespace intertie::guard
