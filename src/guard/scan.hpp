// Finds private data in every text of an Ask. Pure: no I/O, no state, any thread. Findings say where and what, never
// the text itself. Fails closed: when any detector fails the result is marked incomplete and counts as the policy's
// "unknown" class.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/ask.hpp"
#include "core/matrix.hpp"

namespace intertie::guard {

struct Finding {
  std::uint32_t begin; // bytes in Ask::body (or in the scanned text), end exclusive
  std::uint32_t end;
  std::uint16_t detector; // index into detectors()
  DataClass data_class;
  Position position;
  float score; // 0…1
};

struct Findings {
  std::vector<Finding> list; // sorted by begin, not overlapping
  bool scanned = false;      // false: nobody looked
  bool complete = false;     // false: a detector failed or something could not be read

  // The class the policy must judge: the highest found, or `unknown` when not scanned or not complete.
  DataClass highest(DataClass unknown) const;
};

// One row of the registry. `find` reports every match in `text` (plain, unescaped UTF-8); linear time in its length.
using Sink = void (*)(void* to, std::uint32_t begin, std::uint32_t end, float score);
struct Detector {
  std::string_view name; // stable, shown in explain: "EMAIL", "PAYMENT_CARD", "OPENAI_KEY"
  DataClass data_class;
  void (*find)(std::string_view text, Sink sink, void* to);
};
std::span<const Detector> detectors();

// Scans all of ask.texts; escaped spans are decoded first and findings mapped back to bytes of the body.
Findings scan(const Ask& ask, std::span<const Detector> rows = detectors());
// Scans one plain text (for `intertie check` of text and the batch interface).
Findings scan_text(std::string_view text, std::span<const Detector> rows = detectors());

} // namespace intertie::guard
