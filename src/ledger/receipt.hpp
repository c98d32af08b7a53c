// What is kept of one request: which legs were tried, tokens, cost, times, class and Reasons. No content, ever.
// A plain value, moved from the io thread to the ledger's writer.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/call.hpp"
#include "core/delta.hpp"
#include "core/model.hpp"
#include "core/result.hpp"

namespace intertie::ledger {

enum class Outcome : std::uint8_t { Answered, Refused, Failed, ClientGone, BrokenMidStream };
std::string_view to_string(Outcome outcome);

struct LegTried {
  std::string provider;
  std::string model;
  Place place = Place::Device;
  std::string why;                  // ReasonCode's name
  std::string failure;              // Fault's name, empty when it answered
  std::string failure_message;      // for a person; holds no content
  std::uint32_t first_token_us = 0; // 0 = none came
  std::uint32_t total_us = 0;
  std::uint32_t attempts = 1;  // at this leg; more than one: the last one's end is above
  std::string retried_after{}; // what the attempt before the last failed with
  bool retries_spent = false;  // would have been asked once more, were its budget not spent
};
struct Judged { // one candidate and its Reason
  std::string provider;
  std::string model;
  Place place = Place::Device;
  bool chosen = false;
  std::string code; // ReasonCode's name
  std::string sentence;
};

struct Explanation {
  std::vector<Judged> judged;
  std::vector<std::string> counterfactuals;
};

// Shared by receipts that were judged alike.
using Explain = std::shared_ptr<const std::function<Explanation()>>;

struct Receipt {
  CallId id{};
  WallTime at{};
  std::string_view endpoint; // "chat.completions"; static text
  std::string caller;        // product token of the user agent
  std::string asked_model;
  bool stream = false;
  Outcome outcome = Outcome::Answered;
  int status = 200;
  DataClass data_class = DataClass::C0;
  bool class_known = false;
  std::vector<std::string> finding_types; // names and counts only: "EMAIL×2"
  Usage usage{};
  std::int64_t micro_usd = 0;
  bool price_known = false;
  std::uint32_t decide_us = 0;
  std::uint32_t first_token_us = 0;
  std::uint32_t total_us = 0;
  std::array<char, 16> policy_digest{}; // hex
  std::vector<LegTried> legs;
  // Equal keys, equal explanations: what the sentences depend on, hashed. 0: always its own. With a key, `explain` may be
  // left out when the ledger was told the same within the last second.
  std::uint64_t explain_key = 0;
  // Made on the writer's thread, so that the request doesn't pay for sentences. Owns or shares all it needs.
  Explain explain;
};

} // namespace intertie::ledger
