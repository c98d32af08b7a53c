#include "wire/answer.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace intertie::wire {
namespace {
constexpr std::size_t kKeptParser = 256U << 10;
constexpr std::size_t kMostErrorBody = 16U << 10;

dom::parser& answer_parser() {
  thread_local dom::parser parser;
  return parser;
}

double number_of(dom::object object, std::string_view key) {
  double value = 0;
  return object[key].get(value) == simdjson::SUCCESS && std::isfinite(value) ? std::max(value, 0.0) : 0.0;
}

std::optional<Usage> usage_in(dom::object event) {
  dom::object found;
  if (event["usage"].get(found) != simdjson::SUCCESS && event["x_groq"]["usage"].get(found) != simdjson::SUCCESS)
    return std::nullopt;
  Usage usage{count_of(found, "prompt_tokens"), count_of(found, "completion_tokens"), 0, true};
  dom::object details;
  if (found["prompt_tokens_details"].get(details) == simdjson::SUCCESS)
    usage.cached_tokens = std::min(count_of(details, "cached_tokens"), usage.prompt_tokens);
  return usage;
}

Fault fault_of(int status) {
  if (status == 401 || status == 403) return Fault::Auth;
  if (status == 429) return Fault::RateLimit;
  if (status >= 500) return Fault::Transient;
  return Fault::BrokenAnswer;
}
} // namespace

std::string_view text_of(dom::object object, std::string_view key) {
  std::string_view text;
  return object[key].get(text) == simdjson::SUCCESS ? text : std::string_view{};
}
std::uint32_t count_of(dom::object object, std::string_view key) {
  return static_cast<std::uint32_t>(std::min(number_of(object, key), 4'294'967'295.0));
}

std::unexpected<Failure> broken_answer(std::string message, std::string code) {
  return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer, std::move(message), std::move(code));
}

Result<dom::object> parse_object(std::string_view json, Padding padding) {
  dom::object object;
  if (answer_parser().parse(json.data(), json.size(), padding == Padding::No).get(object) != simdjson::SUCCESS)
    return broken_answer("the provider answered with something that is not a JSON object");
  return object;
}
void release_answer_parser(std::size_t document) {
  if (document > kKeptParser) answer_parser() = dom::parser{};
}

void read_facts(dom::object event, Delta& delta) {
  if (auto usage = usage_in(event)) delta.usage = usage;
  dom::object timings;
  if (event["timings"].get(timings) != simdjson::SUCCESS) return;
  delta.timings = Timings{number_of(timings, "prompt_ms"), number_of(timings, "predicted_ms"),
                          count_of(timings, "prompt_n"), count_of(timings, "predicted_n")};
  if (delta.usage) return;
  std::uint32_t cached = count_of(timings, "cache_n");
  delta.usage = Usage{cached + delta.timings->prompt_tokens, delta.timings->output_tokens, cached, true};
}

// The message stays in `upstream_body`: an upstream may quote the prompt or a key in it.
std::optional<Failure> error_in(dom::object event, std::string_view json) {
  dom::element error;
  if (event["error"].get(error) != simdjson::SUCCESS || error.is_null()) return std::nullopt;
  Failure failure{FailureKind::UpstreamBroken,
                  Fault::BrokenAnswer,
                  "the provider reported an error instead of an answer",
                  "upstream_error",
                  {}};
  dom::object object;
  if (error.get(object) == simdjson::SUCCESS) {
    std::int64_t status = 0;
    if (object["code"].get(status) != simdjson::SUCCESS) (void)object["status"].get(status);
    if (status >= 400 && status < 600) failure.upstream_status = static_cast<int>(status);
  }
  if (failure.upstream_status != 0) {
    failure.fault = fault_of(failure.upstream_status);
    failure.message += fmt::format(" (status {})", failure.upstream_status);
  }
  if (json.size() <= kMostErrorBody) failure.upstream_body = json;
  return failure;
}
} // namespace intertie::wire
