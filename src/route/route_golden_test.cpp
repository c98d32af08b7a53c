// Runs tests/golden/route/*.txt: a scenario in a few lines → the plan with every reason. INTERTIE_ACCEPT=1 rewrites the
// expectations; the diff is the review.
//
//   candidate local/small device T0 ready ctx=8192 q=20 …     one per line, for all cases of the file
//   case: what it shows
//   model: auto                 and any of: prompt output needs class place max-cost deadline policy down cold …
//   ---
//   <what render_plan() says>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "core/text.hpp"
#include "route/decide.hpp"

namespace intertie::route {
namespace {
namespace fs = std::filesystem;

struct World {
  std::deque<ModelFacts> models; // addresses stay
  std::vector<Condition> conditions;
  std::vector<std::string> providers;
};
struct Case {
  std::string title;
  std::vector<std::pair<std::string, std::string>> lines;
  std::string expected;
};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (auto word : text::split(text, ' '))
    if (!word.empty()) out.emplace_back(word);
  return out;
}
Cap cap(std::string_view word) {
  static const std::map<std::string_view, Cap> kCaps{
      {"tools", Cap::Tools | Cap::ForcedTools}, {"forced_tools", Cap::ForcedTools}, {"vision", Cap::Vision},
      {"json_schema", Cap::JsonSchema},         {"logprobs", Cap::Logprobs},        {"audio", Cap::Audio}};
  return kCaps.at(word);
}
// A model with tools can be made to call them, too; a request needs one or the other.
Cap wanted(std::string_view word) { return word == "tools" ? Cap::Tools : cap(word); }
Cap caps(std::string_view list) {
  auto out = Cap::None;
  for (auto word : text::split(list, ','))
    if (!word.empty()) out = out | cap(word);
  return out;
}
Condition condition(std::string_view word) {
  static const std::map<std::string_view, Condition> kConditions{
      {"ready", Condition::Ready},    {"cold", Condition::Cold},          {"busy", Condition::Busy},
      {"down", Condition::Down},      {"hard-down", Condition::HardDown}, {"no-fit", Condition::NoFit},
      {"missing", Condition::Missing}};
  return kConditions.at(word);
}
std::int64_t micro(std::string_view dollars) {
  return static_cast<std::int64_t>(std::strtod(std::string(dollars).c_str(), nullptr) * 1e6 + 0.5);
}

// "candidate local/small device T0 ready ctx=8192 q=20 rate=30 prompt_rate=500 load=2 gb=1 caps=tools paid in=… out=… nokey"
void add_candidate(World& world, std::string_view line) {
  auto parts = words(line);
  ModelFacts m;
  auto slash = parts.at(0).find('/');
  m.provider = parts[0].substr(0, slash);
  m.name = parts[0].substr(slash + 1);
  m.place = parse_place(parts.at(1)).value();
  m.trust = parse_trust(parts.at(2)).value();
  world.conditions.push_back(condition(parts.at(3)));
  m.price.known = true;
  for (std::size_t i = 4; i < parts.size(); ++i) {
    auto equals = parts[i].find('=');
    auto key = parts[i].substr(0, equals), value = equals == std::string::npos ? "" : parts[i].substr(equals + 1);
    auto number = std::strtod(value.c_str(), nullptr);
    if (key == "ctx") m.context = static_cast<std::uint32_t>(number);
    else if (key == "q") m.quality = static_cast<int>(number);
    else if (key == "rate") m.output_rate = number;
    else if (key == "prompt_rate") m.prompt_rate = number;
    else if (key == "load") m.load_seconds = number;
    else if (key == "gb") m.resident_bytes = static_cast<std::uint64_t>(number * 1e9);
    else if (key == "caps") m.caps_known = true, m.caps = caps(value);
    else if (key == "paid") m.paid = true;
    else if (key == "in") m.price.input = micro(value);
    else if (key == "out") m.price.output = micro(value);
    else if (key == "noprice") m.price.known = false;
    else if (key == "nokey") m.key_missing = true;
    else if (key == "alias") m.alias = value;
    else ADD_FAILURE() << "unknown word " << parts[i];
  }
  if (std::ranges::find(world.providers, m.provider) == world.providers.end()) world.providers.push_back(m.provider);
  world.models.push_back(std::move(m));
}

struct Scenario {
  std::string model;
  Signals signals;
  Policy policy;
  std::optional<DataClass> data_class = DataClass::C0; // none: nobody can scan
  int scans = 0;
};

void set_policy(Policy& policy, std::string_view list) {
  for (const auto& word : words(list)) {
    auto equals = word.find('=');
    auto key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key == "paid") policy.paid = value == "true";
    else if (key == "furthest") policy.furthest = parse_place(value).value();
    else if (key == "small") policy.small_tokens = static_cast<std::uint32_t>(std::stoul(value));
    else if (key == "high") policy.high_end_quality = std::stoi(value);
    else if (key == "prefer") {
      for (auto p : text::split(value, ',')) policy.prefer.emplace_back(p);
    } else if (key == "unknown") policy.matrix.unknown = parse_class(value).value();
    else if (auto c = parse_class(key)) { // C2=allow,allow,local-only,…
      auto actions = text::split(value, ',');
      for (std::size_t t = 0; t < kTrusts; ++t)
        policy.matrix.actions[static_cast<std::size_t>(*c)][t] = parse_action(actions.at(t)).value();
    } else ADD_FAILURE() << "unknown policy word " << word;
  }
}

Scenario read_scenario(const Case& one, World& world) {
  Scenario s;
  for (const auto& [key, value] : one.lines) {
    auto number = [&] { return static_cast<std::uint32_t>(std::stoul(value)); };
    if (key == "model") s.model = value;
    else if (key == "prompt") s.signals.prompt_tokens = number();
    else if (key == "output") s.signals.max_output_tokens = number();
    else if (key == "needs") {
      for (auto word : text::split(value, ',')) s.signals.needs = s.signals.needs | wanted(word);
    } else if (key == "answers") s.signals.answers_tools = value == "tools";
    else if (key == "class") s.data_class = value == "nobody-looked" ? std::nullopt : parse_class(value);
    else if (key == "place") s.signals.hints.furthest = parse_place(value);
    else if (key == "max-cost") s.signals.hints.max_micro_usd = micro(value);
    else if (key == "deadline") s.signals.deadline = milliseconds{number()};
    else if (key == "policy") set_policy(s.policy, value);
    else if (key == "only") { // keeps some of the file's candidates
      auto keep = words(value);
      for (std::size_t i = world.models.size(); i-- > 0;) {
        auto name = world.models[i].provider + "/" + world.models[i].name;
        if (std::ranges::find(keep, name) != keep.end()) continue;
        world.models.erase(world.models.begin() + static_cast<std::ptrdiff_t>(i));
        world.conditions.erase(world.conditions.begin() + static_cast<std::ptrdiff_t>(i));
      }
    } else { // "down: local/small …" sets a condition
      for (const auto& name : words(value))
        for (std::size_t i = 0; i < world.models.size(); ++i)
          if (world.models[i].provider + "/" + world.models[i].name == name) world.conditions[i] = condition(key);
    }
  }
  s.signals.wish = parse_model_name(s.model, world.providers);
  return s;
}

std::string render_plan(const World& world, Scenario& s, std::span<const Candidate> candidates) {
  std::function<DataClass()> scan;
  if (s.data_class)
    scan = [&] {
      ++s.scans;
      return *s.data_class;
    };
  auto plan = decide(s.signals, s.policy, candidates, scan);
  std::string out;
  auto line = std::back_inserter(out);
  for (std::size_t i = 0; i < plan.legs.size(); ++i)
    fmt::format_to(line, "leg {}: {}/{} {} {}\n", i + 1, plan.legs[i].model->provider, plan.legs[i].model->name,
                   to_string(plan.legs[i].model->place), to_string(plan.legs[i].why));
  if (plan.refusal)
    fmt::format_to(line, "refused {} {}: {}\n", facts(plan.refusal->kind).status, plan.refusal->code,
                   plan.refusal->message);
  fmt::format_to(line, "scanned: {}\n", s.scans == 0 ? "no" : std::string(to_string(plan.data_class)));
  for (const auto& reason : plan.reasons)
    fmt::format_to(line, "- {}/{}: {}: {}\n", world.models[reason.candidate].provider,
                   world.models[reason.candidate].name, to_string(reason.code),
                   render(reason, world.models[reason.candidate]));
  for (const auto& sentence : counterfactuals(plan, s.signals, s.policy, candidates))
    fmt::format_to(line, "? {}\n", sentence);
  EXPECT_LE(s.scans, 1);
  EXPECT_EQ(plan.legs.empty(), plan.refusal.has_value());
  EXPECT_EQ(plan.reasons.size(), candidates.size());
  return out;
}

std::pair<std::vector<std::string>, std::vector<Case>> read_file(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> head;
  std::vector<Case> cases;
  bool expecting = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("case: ")) {
      cases.push_back({line.substr(6), {}, {}});
      expecting = false;
    } else if (cases.empty()) {
      head.push_back(line);
    } else if (line == "---") {
      expecting = true;
    } else if (line.empty()) {
      expecting = false;
    } else if (expecting) {
      cases.back().expected += line + "\n";
    } else {
      auto colon = line.find(": ");
      cases.back().lines.emplace_back(line.substr(0, colon), line.substr(colon + 2));
    }
  }
  return {head, cases};
}

TEST(RouteGolden, ScenariosGivePlansAndReasons) {
  int count = 0;
  bool accept = std::getenv("INTERTIE_ACCEPT") != nullptr;
  for (const auto& entry : fs::directory_iterator(fs::path(INTERTIE_SOURCE_DIR) / "tests/golden/route")) {
    if (entry.path().extension() != ".txt") continue;
    auto [head, cases] = read_file(entry.path());
    std::string rewritten;
    for (const auto& line : head) rewritten += line + "\n";
    for (auto& one : cases) {
      SCOPED_TRACE(entry.path().filename().string() + ": " + one.title);
      World world;
      for (const auto& line : head)
        if (line.starts_with("candidate ")) add_candidate(world, std::string_view(line).substr(10));
      auto scenario = read_scenario(one, world);
      std::vector<Candidate> candidates;
      for (std::uint16_t i = 0; i < world.models.size(); ++i)
        candidates.push_back({&world.models[i], world.conditions[i], i});
      auto got = render_plan(world, scenario, candidates);
      if (!accept) { EXPECT_EQ(got, one.expected); }
      rewritten += "case: " + one.title + "\n";
      for (const auto& [key, value] : one.lines) rewritten += key + ": " + value + "\n";
      rewritten += "---\n" + got + "\n";
      ++count;
    }
    if (accept) std::ofstream(entry.path()) << rewritten;
  }
  EXPECT_GE(count, 40);
}
} // namespace
} // namespace intertie::route
