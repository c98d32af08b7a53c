// What the readers of upstream answers share: parsing bytes that have no padding, error objects, usage and timings.
// Internal to wire. Pure; the parser is the thread's own, so a result dies with the next call of `parse`.
#pragma once

#include <string_view>

#include "core/delta.hpp"
#include "core/result.hpp"
#include "wire/json_read.hpp"

namespace intertie::wire {
namespace dom = simdjson::dom;

// A JSON object, copied to where it has padding unless it has kPadding bytes behind it; UpstreamBroken when it is anything
// else.
enum class Padding : std::uint8_t { No, Yes };
Result<dom::object> parse_object(std::string_view json, Padding padding = Padding::No);
// Drops the memory that a large document needed.
void release_answer_parser(std::size_t document);

// Reads `usage` (also Groq's `x_groq.usage`) and llama-server's `timings`, which stand in for a missing usage.
void read_facts(dom::object event, Delta& delta);
// The failure an `error` member stands for; nullopt when there is none (or null).
std::optional<Failure> error_in(dom::object event, std::string_view json);
std::unexpected<Failure> broken_answer(std::string message, std::string code = "upstream_broken");

std::string_view text_of(dom::object object, std::string_view key); // empty when not a string
std::uint32_t count_of(dom::object object, std::string_view key);   // 0 when not a number
// The usage object as OpenAI writes it, with its total.
std::string usage_object(const Usage& usage);
} // namespace intertie::wire
