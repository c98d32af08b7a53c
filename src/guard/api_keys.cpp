// API keys by the shapes their issuers publish: a fixed prefix, an alphabet, a length. Words that only look like one
// (placeholders such as sk-your-key-here, blobs of hex or base64) must not match: the prefix starts a word, and the
// random part has the variety of random characters.
#include <algorithm>

#include "guard/detect.hpp"

namespace intertie::guard {
namespace {
using Member = bool (*)(char);
constexpr std::size_t kMostToken = 16U << 10;
constexpr bool is_aws(char c) { return is_upper(c) || (c >= '2' && c <= '7'); } // base 32
constexpr bool is_slack(char c) { return is_alnum(c) || c == '-'; }

std::size_t run_end(std::string_view text, std::size_t at, Member member) {
  std::size_t most = std::min(text.size(), at + kMostToken);
  while (at < most && member(text[at])) ++at;
  return at;
}

struct Variety {
  int distinct = 0;
  bool digit = false, upper = false, lower = false;
};
Variety variety(std::string_view token) {
  std::array<bool, 128> seen{};
  Variety v;
  for (char c : token) {
    bool& mark = seen[static_cast<unsigned char>(c) & 127];
    v.distinct += mark ? 0 : 1;
    mark = true;
    v.digit = v.digit || is_digit(c);
    v.upper = v.upper || is_upper(c);
    v.lower = v.lower || is_lower(c);
  }
  return v;
}
bool random_looking(std::string_view token) {
  Variety v = variety(token);
  return v.distinct >= 8 && v.digit && (v.upper || v.lower);
}

// How one shape continues behind its prefix: from `least` to `most` characters of an alphabet, up to the end of the
// word.
struct Shape {
  std::string_view prefix;
  Member member;
  std::size_t least, most;
  bool (*plausible)(std::string_view) = random_looking;
  std::string_view kinds{}; // what the prefix's first ? may be; empty: anything
};
bool kind_fits(std::string_view found, const Shape& shape) {
  return shape.kinds.empty() || shape.kinds.find(found[shape.prefix.find('?')]) != std::string_view::npos;
}

void find_shape(std::string_view text, const Shape& shape, Sink sink, void* to) {
  for (std::size_t at = find_literal(text, shape.prefix); at != std::string_view::npos;
       at = find_literal(text, shape.prefix, at)) {
    std::size_t begin = at, body = at + shape.prefix.size();
    at = body;
    if (!starts_token(text, begin) || !kind_fits(text.substr(begin), shape)) continue;
    std::size_t end = run_end(text, body, shape.member);
    while (end > body && (text[end - 1] == '-' || text[end - 1] == '.')) --end; // a sentence's dash or dot
    std::size_t size = end - body;
    at = std::max(end, body);
    if (size < shape.least || size > shape.most || (end < text.size() && is_alnum(text[end]))) continue;
    if (shape.plausible(text.substr(body, size))) report(sink, to, begin, end, 0.99F);
  }
}
void find_shapes(std::string_view text, std::span<const Shape> shapes, Sink sink, void* to) {
  for (const auto& shape : shapes) find_shape(text, shape, sink, to);
}

bool mixed(std::string_view token) { // digits are not certain in 34 letters
  Variety v = variety(token);
  return v.distinct >= 10 && v.upper && v.lower;
}
bool any_aws(std::string_view token) { return variety(token).distinct >= 5; }
} // namespace

// sk-…, sk-proj-…, sk-svcacct-…, sk-admin-…; Anthropic's and OpenRouter's share the prefix, Anthropic has its own row.
void find_openai_key(std::string_view text, Sink sink, void* to) {
  struct Filter {
    std::string_view text;
    Sink sink;
    void* to;
  } filter{text, sink, to};
  auto pass = [](void* self, std::uint32_t begin, std::uint32_t end, float score) {
    auto& f = *static_cast<Filter*>(self);
    if (!f.text.substr(begin).starts_with("sk-ant-")) f.sink(f.to, begin, end, score);
  };
  find_shape(text, {"sk-", is_word, 20, 400}, pass, &filter);
}
void find_anthropic_key(std::string_view text, Sink sink, void* to) {
  find_shape(text, {"sk-ant-", is_word, 24, 400}, sink, to);
}
void find_aws_key(std::string_view text, Sink sink, void* to) {
  find_shape(text, {"A?IA", is_aws, 16, 16, any_aws, "KS"}, sink, to);
}
void find_github_token(std::string_view text, Sink sink, void* to) {
  constexpr std::array kShapes =
      std::to_array<Shape>({{"gh?_", is_alnum, 36, 255, random_looking, "pousr"}, {"github_pat_", is_word, 60, 255}});
  find_shapes(text, kShapes, sink, to);
}
void find_gitlab_token(std::string_view text, Sink sink, void* to) {
  constexpr std::array kShapes =
      std::to_array<Shape>({{"glpat-", is_word, 20, 64}, {"gl?t-", is_word, 20, 64, random_looking, "dr"}});
  find_shapes(text, kShapes, sink, to);
}
// xoxb- bot, xoxp- user, xoxa-/xoxr- legacy, xoxs- workspace, xoxe- refresh; xapp- app level.
void find_slack_token(std::string_view text, Sink sink, void* to) {
  constexpr std::array kShapes =
      std::to_array<Shape>({{"xox?-", is_slack, 20, 255, random_looking, "bparse"}, {"xapp-", is_slack, 20, 255}});
  find_shapes(text, kShapes, sink, to);
}
void find_stripe_key(std::string_view text, Sink sink, void* to) {
  constexpr std::array kShapes = std::to_array<Shape>({{"sk_????_", is_alnum, 16, 255, random_looking, "lt"},
                                                       {"rk_????_", is_alnum, 16, 255, random_looking, "lt"},
                                                       {"whsec_", is_alnum, 24, 255}});
  find_shapes(text, kShapes, sink, to);
}
void find_google_key(std::string_view text, Sink sink, void* to) {
  find_shape(text, {"AIza", is_word, 35, 35}, sink, to);
}
void find_groq_key(std::string_view text, Sink sink, void* to) {
  find_shape(text, {"gsk_", is_alnum, 40, 80}, sink, to);
}
void find_xai_key(std::string_view text, Sink sink, void* to) {
  find_shape(text, {"xai-", is_alnum, 60, 100}, sink, to);
}
void find_huggingface_token(std::string_view text, Sink sink, void* to) {
  find_shape(text, {"hf_", is_alnum, 34, 40, mixed}, sink, to);
}
void find_npm_token(std::string_view text, Sink sink, void* to) {
  find_shape(text, {"npm_", is_alnum, 36, 36}, sink, to);
}

// SG.<22>.<43>, both base64url.
void find_sendgrid_key(std::string_view text, Sink sink, void* to) {
  constexpr std::string_view kPrefix = "SG.";
  for (std::size_t at = find_literal(text, kPrefix); at != std::string_view::npos;
       at = find_literal(text, kPrefix, at)) {
    std::size_t begin = at, id = at + kPrefix.size();
    at = id;
    std::size_t dot = run_end(text.substr(0, std::min(text.size(), id + 23)), id, is_word);
    if (!starts_token(text, begin) || dot - id != 22 || dot >= text.size() || text[dot] != '.') continue;
    std::size_t end = run_end(text.substr(0, std::min(text.size(), dot + 45)), dot + 1, is_word);
    if (end - dot - 1 != 43 || !random_looking(text.substr(dot + 1, 43))) continue;
    report(sink, to, begin, end, 0.99F);
    at = end;
  }
}

// API key SIDs: SK and 32 lower-case hex digits.
void find_twilio_key(std::string_view text, Sink sink, void* to) {
  find_shape(text, {"SK", is_hex_lower, 32, 32}, sink, to);
}

// <bot id, 8 to 10 digits>:AA<33>, base64url.
void find_telegram_token(std::string_view text, Sink sink, void* to) {
  constexpr std::string_view kAnchor = ":AA";
  for (std::size_t at = find_literal(text, kAnchor); at != std::string_view::npos;
       at = find_literal(text, kAnchor, at + 1)) {
    std::size_t begin = at;
    while (begin > 0 && at - begin < 11 && is_digit(text[begin - 1])) --begin;
    std::size_t end = run_end(text.substr(0, std::min(text.size(), at + 37)), at + 1, is_word);
    bool bot = begin >= 3 && text.substr(begin - 3, 3) == "bot"; // as in the API's addresses
    if (at - begin < 8 || at - begin > 10 || end - at - 1 != 35 || !(bot || starts_token(text, begin))) continue;
    if (random_looking(text.substr(at + 1, 35))) report(sink, to, begin, end, 0.99F);
  }
}

// header.payload.signature in base64url; the header is JSON, hence eyJ ('{"'), and so is the payload of a JWS.
void find_jwt(std::string_view text, Sink sink, void* to) {
  constexpr std::string_view kPrefix = "eyJ";
  for (std::size_t at = find_literal(text, kPrefix); at != std::string_view::npos;
       at = find_literal(text, kPrefix, at)) {
    std::size_t begin = at, head = run_end(text, at, is_word);
    at = std::max(head, at + 3);
    if (!starts_token(text, begin) || head - begin < 12 || !text.substr(head).starts_with(".eyJ")) continue;
    std::size_t payload = run_end(text, head + 1, is_word);
    if (payload >= text.size() || text[payload] != '.') continue;
    std::size_t end = run_end(text, payload + 1, is_word);
    if (end - payload - 1 < 16) continue;
    report(sink, to, begin, end, 0.97F);
    at = end;
  }
}
} // namespace intertie::guard
