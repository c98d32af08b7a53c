// What is kept of one request: which legs were tried, tokens, cost, times, class and Reasons. No content, ever.
// In two parts, because requests come in bursts that differ in numbers only: the Receipt holds the numbers, and its Story
// (all that has words) is told once for all that are alike. Plain values, moved from the io thread to the ledger's writer.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
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
  std::string why;             // ReasonCode's name
  std::string failure;         // Fault's name, empty when it answered
  std::string failure_message; // for a person; holds no content
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

struct Story {
  std::string endpoint; // "chat.completions"
  std::string caller;   // product token of the user agent
  std::string asked_model;
  bool stream = false;
  Outcome outcome = Outcome::Answered;
  int status = 200;
  DataClass data_class = DataClass::C0;
  bool class_known = false;
  std::vector<std::string> finding_types; // names and counts only: "EMAIL×2"
  std::string policy_digest;              // 16 hex digits
  std::vector<LegTried> legs;
  std::vector<Judged> judged;
  std::vector<std::string> counterfactuals;
};
// Runs on the writer's thread, so that the request doesn't pay for sentences. Owns or shares all it needs.
using Tell = std::move_only_function<Story()>;

struct LegTimes {
  std::uint32_t first_token_us = 0; // 0 = none came
  std::uint32_t total_us = 0;
};

struct Receipt {
  CallId id{}; // says when, too
  Usage usage{};
  std::int64_t micro_usd = 0;
  bool price_known = false;
  std::uint32_t decide_us = 0;
  std::uint32_t first_token_us = 0;
  std::uint32_t total_us = 0;
  std::vector<LegTimes> leg_times; // one per leg of the Story; empty: one leg at most, its times are the request's
  // Equal keys, equal Stories: all that a Story says, hashed. 0: always its own. With a key, `tell` may be left out when the
  // ledger was told the same within the last second.
  std::uint64_t story_key = 0;
  Tell tell;
};

} // namespace intertie::ledger
