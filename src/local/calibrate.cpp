#include "local/calibrate.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <vector>

#include <fmt/format.h>
#include <simdjson.h>

#include "core/json.hpp"

namespace intertie::local {
namespace {
constexpr double kWeight = 0.3; // of a new measurement against all before it
constexpr std::uint32_t kFewestPrompt = 24;
constexpr std::uint32_t kFewestOutput = 8;
constexpr double kUsualOverhead = 12; // ms
constexpr std::size_t kMostKept = 512;

void blend(double& value, double now, bool first) {
  value = first || value <= 0 ? now : value + kWeight * (now - value);
}
} // namespace

std::string rates_key(const std::string& file, std::uint64_t size, std::int64_t modified, int threads,
                      const std::string& engine) {
  return fmt::format("{}|{}|{}|t{}|{}", file, size, modified, threads, engine);
}

double memory_bandwidth() {
  static const double bandwidth = [] {
    std::vector<std::uint64_t> memory(4u << 20, 1); // 32 MB
    auto started = std::chrono::steady_clock::now();
    volatile std::uint64_t sum = std::accumulate(memory.begin(), memory.end(), std::uint64_t{0});
    static_cast<void>(sum);
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
    return std::clamp(static_cast<double>(memory.size() * 8) / std::max(took.count(), 1e-6), 1e9, 2e11);
  }();
  return bandwidth;
}

// A token of output reads every weight once, so memory bounds it; a prompt's tokens share the reading and are bounded by
// arithmetic: about 4 times faster per thread. Factors from the SmolLM2 and 1.5B rows of the design's table.
Rates guess_rates(const Gguf& model, int threads, double bandwidth) {
  Rates rates;
  auto bytes = static_cast<double>(std::max<std::uint64_t>(model.file_bytes, 1));
  if (model.experts > 1) bytes /= std::max(1.0, model.experts / 4.0);
  rates.output = std::clamp(1.6 * bandwidth / bytes * std::min(threads, 4), 0.1, 5000.0);
  rates.prompt = rates.output * 3.5;
  rates.overhead_ms = kUsualOverhead;
  rates.load_seconds = 0.3 + bytes / 400e6;
  return rates;
}

Timings timings_in(std::string_view body) {
  Timings out;
  auto at = body.rfind("\"timings\":");
  if (at == std::string_view::npos) return out;
  auto from = body.substr(at + 10);
  auto end = from.find('}');
  if (end == std::string_view::npos) return out;
  simdjson::dom::parser parser;
  simdjson::dom::element object;
  if (parser.parse(std::string(from.substr(0, end + 1))).get(object)) return out;
  auto number = [&](const char* name) {
    double value = 0;
    return object[name].get_double().get(value) ? 0.0 : value;
  };
  out.prompt_ms = number("prompt_ms");
  out.output_ms = number("predicted_ms");
  out.prompt_tokens = static_cast<std::uint32_t>(std::clamp(number("prompt_n"), 0.0, 1e9));
  out.output_tokens = static_cast<std::uint32_t>(std::clamp(number("predicted_n"), 0.0, 1e9));
  return out;
}

bool learn(Rates& rates, const Timings& timings) {
  bool changed = false;
  bool first = !rates.measured;
  if (timings.prompt_tokens >= kFewestPrompt && timings.prompt_ms > 0) {
    blend(rates.prompt, timings.prompt_tokens * 1000.0 / timings.prompt_ms, first);
    changed = true;
  }
  if (timings.output_tokens >= kFewestOutput && timings.output_ms > 0) {
    blend(rates.output, timings.output_tokens * 1000.0 / timings.output_ms, first);
    changed = true;
    if (timings.prompt_tokens >= kFewestPrompt) rates.measured = true;
  }
  return changed;
}

milliseconds first_token(const Rates& rates, std::uint32_t prompt_tokens) {
  double ms = rates.overhead_ms + (rates.prompt > 0 ? prompt_tokens * 1000.0 / rates.prompt : 0);
  return milliseconds{static_cast<std::int64_t>(std::clamp(ms, 0.0, 3.6e6) + 0.5)};
}

const Rates* RateBook::find(const std::string& key) const {
  auto at = rates_.find(key);
  return at == rates_.end() ? nullptr : &at->second;
}

void RateBook::load() {
  rates_.clear();
  simdjson::dom::parser parser(4u << 20);
  simdjson::dom::object all;
  if (parser.load(file_).get_object().get(all)) return;
  for (auto [key, value] : all) {
    Rates rates;
    double resident = 0, context = 0, slots = 0;
    auto number = [&entry = value](const char* name, double& to) {
      double read = 0;
      if (!entry[name].get_double().get(read) && read >= 0 && read < 1e15) to = read;
    };
    number("prompt", rates.prompt);
    number("output", rates.output);
    number("overhead_ms", rates.overhead_ms);
    number("load_seconds", rates.load_seconds);
    number("resident", resident);
    number("context", context);
    number("slots", slots);
    rates.resident = static_cast<std::uint64_t>(resident);
    rates.context = static_cast<std::uint32_t>(std::min(context, 4e9));
    rates.slots = static_cast<std::uint32_t>(std::min(slots, 4e9));
    bool measured = false;
    rates.measured = !value["measured"].get_bool().get(measured) && measured;
    if (rates_.size() < kMostKept) rates_.emplace(std::string(key), rates);
  }
}

Result<> RateBook::save() const {
  std::string text = "{";
  for (const auto& [key, rates] : rates_) {
    if (text.size() > 1) text += ",\n";
    text += json::quoted(key) + ":" +
            json::Object{}
                .add("prompt", rates.prompt)
                .add("output", rates.output)
                .add("overhead_ms", rates.overhead_ms)
                .add("load_seconds", rates.load_seconds)
                .add("resident", rates.resident)
                .add("context", rates.context)
                .add("slots", rates.slots)
                .add("measured", rates.measured)
                .str();
  }
  auto part = file_ + ".part";
  std::ofstream out(part, std::ios::trunc);
  out << text << "}\n";
  out.close();
  if (!out || std::rename(part.c_str(), file_.c_str()) != 0)
    return fail(FailureKind::Unavailable, Fault::Ours, fmt::format("can't write {}", file_));
  return {};
}
} // namespace intertie::local
