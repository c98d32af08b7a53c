// intertie ask: a question over the public API, the answer to stdout, everything else to stderr.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>

#include <fmt/format.h>
#include <simdjson.h>

#include "bin/daemon_client.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "core/json.hpp"
#include "wire/sse.hpp"

namespace intertie::bin {
namespace {

constexpr std::size_t kMostInput = 16u << 20;
constexpr std::uint32_t kMostTokens = 1024; // unless --max-tokens says otherwise

// The question of the command line, and what is piped in behind it.
std::string question_text(const Options& options) {
  std::string text = options.question == "-" ? "" : options.question;
  if (options.question != "-" && (on_terminal(STDIN_FILENO) || !options.question.empty())) return text;
  std::string piped{std::istreambuf_iterator<char>(std::cin), {}};
  piped.resize(std::min(piped.size(), kMostInput));
  return text.empty() ? piped : text + "\n\n" + piped;
}

std::string request_body(const Options& options, const std::string& question) {
  json::Array messages;
  if (!options.system.empty()) messages.raw(json::Object{}.add("role", "system").add("content", options.system).str());
  messages.raw(json::Object{}.add("role", "user").add("content", question).str());
  json::Object body;
  body.add("model", options.model).raw("messages", messages.str()).add("stream", options.stream);
  // Small local models ramble and repeat themselves at the engine's default temperature.
  body.add("temperature", 0.2).add("max_tokens", options.max_tokens > 0 ? options.max_tokens : kMostTokens);
  return body.str();
}

// Text of one answer or chunk: choices[0].message|delta.content; an error's message goes to `error`.
std::string content_of(std::string_view document, std::string& error) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  std::string_view text;
  if (parser.parse(document.data(), document.size()).get(root) != simdjson::SUCCESS) return {};
  if (root["error"]["message"].get(text) == simdjson::SUCCESS) {
    error = text;
    return {};
  }
  simdjson::dom::element choice;
  if (root["choices"].at(0).get(choice) != simdjson::SUCCESS) return {};
  if (choice["delta"]["content"].get(text) == simdjson::SUCCESS) return std::string(text);
  if (choice["message"]["content"].get(text) == simdjson::SUCCESS) return std::string(text);
  return {};
}

void say_why(const Answer& answer) {
  std::string where = answer.place == "device" ? "on this device"
                      : answer.place == "edge" ? "on your own server"
                                               : "in the cloud";
  fmt::print(stderr, "\n{} {}, by {}.\n{} {}\n", "Where:", where, answer.model, "Why:  ", answer.reason);
  fmt::print(stderr, "More:   intertie explain {}\n", answer.decision);
}

} // namespace

int ask(const Options& options, const config::Config& config) {
  auto question = question_text(options);
  if (question.empty()) {
    fmt::print(stderr, "intertie: nothing to ask; try: intertie ask \"What is the capital of France?\"\n");
    return kUsage;
  }
  DaemonRequest request{.method = "POST", .path = "/v1/chat/completions", .body = request_body(options, question)};
  wire::SseFramer framer;
  std::string error;
  bool said = false;
  if (options.stream && !options.json)
    request.each = [&](std::string_view bytes) {
      auto events = framer.feed(bytes);
      if (!events) {
        error = events.error().message;
        return;
      }
      wire::DataReader reader(*events);
      while (auto data = reader.next()) {
        if (*data == "[DONE]") continue;
        auto text = content_of(*data, error);
        said = said || !text.empty();
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
      }
    };
  auto answer = ask_daemon(config, std::move(request));
  if (!answer) return complain(answer.error());
  if (options.json) {
    fmt::print("{}\n", answer->body);
    return answer->status == 200 ? kOk : kFailed;
  }
  if (!options.stream || answer->status != 200) {
    auto text = content_of(answer->body, error);
    if (error.empty()) fmt::print("{}", text);
    said = true;
  }
  if (said && error.empty()) fmt::print("\n");
  if (!error.empty()) fmt::print(stderr, "{}intertie: {}\n", said && options.stream ? "\n" : "", error);
  if (options.why && !answer->decision.empty()) say_why(*answer);
  if (error.empty()) return kOk;
  return answer->status == 403 ? kRefused : kFailed;
}

} // namespace intertie::bin
