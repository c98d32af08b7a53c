#include <array>
#include <charconv>

#include <fmt/format.h>

#include "core/json.hpp"
#include "core/text.hpp"
#include "guard/clear.hpp"
#include "runner.hpp"
#include "wire/chat.hpp"
#include "wire/forced_tools.hpp"
#include "wire/sse.hpp"

namespace intertie::golden {
namespace {
constexpr std::array<std::string_view, 9> kPositions{
    "system", "user", "assistant", "tool-result", "tool-argument", "tool-definition", "name", "metadata", "unknown"};
std::string_view position(Position p) { return kPositions.at(static_cast<std::size_t>(p)); }

std::string with_padding(std::string_view input) {
  std::string body(input);
  body.reserve(body.size() + kPadding);
  return body;
}

std::string failed(const Failure& f) {
  std::string out = fmt::format("{}", facts(f.kind).name);
  if (!f.param.empty()) out += " param=" + f.param;
  if (!f.code.empty()) out += " code=" + f.code;
  if (f.upstream_status != 0) out += fmt::format(" upstream={}", f.upstream_status);
  out += "\n" + f.message;
  if (!f.upstream_body.empty()) out += "\n" + f.upstream_body;
  return out;
}

std::string needs(Cap caps) {
  constexpr std::array<std::string_view, 8> kNames{"tools",    "vision", "json-object",  "json-schema",
                                                   "logprobs", "audio",  "many-choices", "forced-tools"};
  std::string out;
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if ((static_cast<unsigned>(caps) >> i & 1) != 0)
      out += fmt::format("{}{}", out.empty() ? " needs=" : ",", kNames[i]);
  return out;
}

// The index of a request: one line of facts, then its texts as they stand in the body.
std::string ask(std::string_view, std::string_view input) {
  std::string body = with_padding(input);
  auto read = wire::read_chat_ask(body);
  if (!read) return failed(read.error());
  const Ask& a = *read;
  std::string out = fmt::format("model={} at={} messages={}", a.model, a.at(a.model_value), a.messages);
  if (a.stream) out += " stream";
  if (!a.stream_options.empty()) out += fmt::format(" stream_options={}", a.at(a.stream_options));
  if (a.include_usage) out += " include_usage";
  if (a.max_tokens) out += fmt::format(" max_tokens={}", *a.max_tokens);
  if (a.tools > 0) out += fmt::format(" tools={}", a.tools);
  if (a.images > 0) out += fmt::format(" images={}", a.images);
  out += needs(a.needs);
  if (a.tool_history) out += a.answers_tools ? " answers-tools" : " tool-history";
  for (const auto& text : a.texts)
    out += fmt::format("\n{}{} {}", position(text.position), text.escaped ? " escaped" : "", a.at(text).substr(0, 100));
  return out;
}

// What a client is told about a request that can't be read.
std::string refusal(std::string_view, std::string_view input) {
  std::string body = with_padding(input);
  auto read = wire::read_chat_ask(body);
  return read ? "accepted" : wire::render_chat_failure(read.error());
}

std::string facts_of(const Delta& d) {
  constexpr std::array<std::string_view, 3> kShapes{"events", "whole", "progress"};
  std::string out =
      fmt::format("{} raw={} pieces={}", kShapes.at(static_cast<std::size_t>(d.shape)), d.raw.size(), d.pieces);
  if (d.finished) out += " finished";
  if (d.last) out += " last";
  if (d.usage)
    out += fmt::format(" usage={}+{} cached={}", d.usage->prompt_tokens, d.usage->completion_tokens,
                       d.usage->cached_tokens);
  if (d.timings)
    out += fmt::format(" timings={}/{}ms {}/{}ms", d.timings->prompt_tokens, d.timings->prompt_ms,
                       d.timings->output_tokens, d.timings->output_ms);
  return out;
}
std::string events(std::string_view, std::string_view input) {
  Delta delta;
  auto read = wire::read_chat_events(input, delta);
  return read ? facts_of(delta) : failed(read.error());
}
std::string answer(std::string_view, std::string_view input) {
  std::string body = with_padding(input);
  Delta delta;
  auto read = wire::read_chat_answer(body, delta);
  return read ? facts_of(delta) : failed(read.error());
}
// Bytes of a stream → framer → one answer.
std::string aggregate(std::string_view, std::string_view input) {
  wire::SseFramer framer;
  wire::ChatAggregator aggregator;
  auto run = framer.feed(input);
  if (!run) return failed(run.error());
  for (std::string_view piece : {std::string(*run), std::string(framer.end())})
    if (auto fed = aggregator.feed(piece); !fed) return failed(fed.error());
  return aggregator.finish("chatcmpl-ours", "model-ours", 1'700'000'000,
                           {.prompt_tokens = 7, .completion_tokens = 3, .measured = true});
}
std::string as_events(std::string_view arguments, std::string_view input) {
  std::string body = with_padding(input);
  auto out = wire::chat_answer_as_events(body, arguments == "usage");
  return out ? *out : failed(out.error());
}
// What the local engine is asked in the place of a request that forces a call; `forced only text`: in the place of one that
// carries calls and their results.
std::string forced(std::string_view arguments, std::string_view input) {
  std::string body = with_padding(input);
  auto read = wire::read_chat_ask(body);
  if (!read) return failed(read.error());
  wire::BodyEdits changed(read->body);
  std::string out;
  if (arguments != "only text") {
    auto names = wire::force_call(changed);
    if (!names) return failed(names.error());
    out = fmt::format("{}\n", fmt::join(*names, " "));
  }
  wire::tools_as_text(changed);
  auto edits = changed.edits();
  std::string sent;
  for (auto piece : wire::splice(read->body, edits)) sent += piece;
  sent.reserve(sent.size() + kPadding);
  bool valid = wire::read_chat_ask(sent).has_value();
  return out + sent + (valid ? "" : "\nnot valid any more");
}
// `calls a b`: the stream of an answer forced to call a or b, as its client gets it; the same however it is cut.
std::string calls(std::string_view arguments, std::string_view input) {
  auto relay = [&](std::size_t cut) -> std::string {
    std::vector<std::string> names;
    for (auto name : text::split(arguments, ' ')) names.emplace_back(name);
    wire::CallEvents events("call_1", std::move(names));
    wire::SseFramer framer;
    std::string out;
    for (int part = 0; part < 3; ++part) {
      auto run = part == 2 ? framer.end() : framer.feed(part == 0 ? input.substr(0, cut) : input.substr(cut));
      auto changed = run ? events.rewrite(*run) : run;
      if (!changed) return failed(changed.error());
      out += *changed;
    }
    return out;
  };
  auto whole = relay(input.size());
  for (std::size_t cut = 0; cut < input.size(); ++cut)
    if (relay(cut) != whole) return fmt::format("cut at byte {}:\n{}", cut, relay(cut));
  return whole;
}
// A failure as a client sees it: status and body. Input: the upstream's body, if any.
std::string failure(std::string_view, std::string_view input) {
  Failure f{FailureKind::UpstreamRefused, Fault::Auth, "the provider refused the key", "upstream_auth", {}};
  f.upstream_body = input;
  return wire::render_chat_failure(f) + "\n" + wire::render_chat_failure_event(f);
}

// The text with every finding replaced by its type and length.
std::string mark(std::string_view, std::string_view input) {
  auto findings = guard::scan_text(input);
  std::string out;
  std::size_t at = 0;
  for (const auto& f : findings.list) {
    out += input.substr(at, f.begin - at);
    out += fmt::format("[{} {} {}]", guard::detectors()[f.detector].name, to_string(f.data_class), f.end - f.begin);
    at = f.end;
  }
  out += input.substr(at);
  return out + (findings.complete ? "" : "\nincomplete");
}
// A whole request: every finding with its position and the bytes it covers.
std::string scan(std::string_view, std::string_view input) {
  std::string body = with_padding(input);
  auto read = wire::read_chat_ask(body);
  if (!read) return failed(read.error());
  auto findings = guard::scan(*read);
  std::string out = fmt::format("highest={}", to_string(findings.highest(DataClass::C6)));
  for (const auto& f : findings.list)
    out += fmt::format("\n{} {} {}", guard::detectors()[f.detector].name, position(f.position),
                       body.substr(f.begin, f.end - f.begin));
  return out;
}
// `clear T4`: may this request go there under the shipped matrix?
std::string clear(std::string_view arguments, std::string_view input) {
  std::string body = with_padding(input);
  auto read = wire::read_chat_ask(body);
  auto trust = parse_trust(arguments);
  if (!read || !trust) return "bad case";
  auto cleared = guard::clear(*read, guard::scan(*read), default_matrix(), *trust);
  return cleared ? "cleared" : failed(cleared.error());
}

constexpr std::array kVerbs = std::to_array<Verb>({
    {"ask", ask},
    {"refusal", refusal},
    {"events", events},
    {"answer", answer},
    {"aggregate", aggregate},
    {"as-events", as_events},
    {"forced", forced},
    {"calls", calls},
    {"failure", failure},
    {"mark", mark},
    {"scan", scan},
    {"clear", clear},
});
} // namespace

std::span<const Verb> verbs() { return kVerbs; }
} // namespace intertie::golden
