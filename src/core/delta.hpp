// A piece of an answer, as an index over the upstream's own bytes: `raw` holds one or more whole events (or one whole
// JSON answer) in `dialect`'s framing, the rest are facts read from them. Same-dialect answers relay `raw` untouched.
// Valid until the next call of Stream::next(). An answer's last Delta has `last` set.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/ask.hpp"

namespace intertie {

struct Usage {
  std::uint32_t prompt_tokens = 0;
  std::uint32_t completion_tokens = 0;
  std::uint32_t cached_tokens = 0;
  bool measured = false; // false: estimated by us
};

// Speeds the local engine reports with its last event; zero when unknown.
struct Timings {
  double prompt_ms = 0;
  double output_ms = 0;
  std::uint32_t prompt_tokens = 0; // read now, without those from the cache
  std::uint32_t output_tokens = 0;
};

enum class DeltaShape : std::uint8_t {
  Events,   // whole stream events; SSE in the OpenAI dialect, `data: …\n\n`, [DONE] included when it came
  Whole,    // one complete non-stream JSON answer
  Progress, // the upstream works (prompt progress, comment); carries nothing for the client
};

struct Delta {
  DeltaShape shape = DeltaShape::Events;
  std::string_view raw{};
  DialectId dialect = DialectId::OpenAiChat;
  std::uint32_t pieces = 0; // events with text, for the estimate when no usage comes
  bool finished = false;    // a finish_reason was seen in or before this Delta
  bool last = false;
  std::optional<Usage> usage{};
  std::optional<Timings> timings{};
};
} // namespace intertie
