// Private to route/: what is worked out once per request, and the hard constraints that every candidate must pass. Each
// constraint is one function in a table; the later its place in the table, the nearer a candidate came to being used.
// Pure, any thread.
#pragma once

#include <optional>

#include "route/decide.hpp"

namespace intertie::route {

// A limit on the answer is a cap, not a wish: a client that says 32,000 rarely means it. So this much room is demanded.
inline constexpr std::uint32_t kAnswerRoom = 1024;
inline constexpr std::uint32_t kShortestAnswer = 64;  // … and this much when no limit was said
inline constexpr std::uint32_t kAssumedAnswer = 1024; // tokens priced and timed when no limit was said
inline constexpr double kReadableRate = 4;            // tokens/s below which reading along is no fun

// The request as the constraints and the ranking see it.
struct Question {
  const Signals& signals;
  const Policy& policy;
  bool whole_name = false; // no provider has "provider/model": the name is a bare one with a slash in it
  std::uint32_t answer_tokens = kAssumedAnswer;
  std::uint32_t tokens_needed = 0; // prompt and room for an answer
};
Question make_question(const Signals& signals, const Policy& policy, std::span<const Candidate> candidates);

bool names(const ModelName& wish, const ModelFacts& model, bool whole_name);
std::int64_t worst_case_cost(const Question& question, const ModelFacts& model); // micro-USD; -1 = price unknown
milliseconds first_token(const Question& question, const Candidate& candidate);  // 0 = unknown

struct Verdict {
  std::uint8_t stage = 0; // index of the constraint that rejected; kStages = passed all
  ReasonCode code = ReasonCode::NotNamed;
  std::int64_t a = 0;
  std::int64_t b = 0;
};
extern const std::uint8_t kStages;
Verdict judge(const Question& question, const Candidate& candidate);

// The matrix, asked last because it may need a scan. `scanned` false: nobody could look, so the class is the policy's
// "unknown". nullopt = allowed.
std::optional<Reason> judge_class(const Question& question, const Candidate& candidate, DataClass data_class,
                                  bool scanned);

// The refusal when no candidate is left: typed, with what would change it.
Failure refuse(const Question& question, const Plan& plan, std::span<const Candidate> candidates);

} // namespace intertie::route
