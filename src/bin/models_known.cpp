#include "bin/models_known.hpp"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>
#include <simdjson.h>

#include "bin/daemon_client.hpp"
#include "core/json.hpp"
#include "core/text.hpp"

namespace intertie::bin {
namespace {

namespace dom = simdjson::dom;
constexpr std::uint32_t kShortPrompt = 500, kLongPrompt = 2000;

void read(dom::element from, const char* key, std::string& to) {
  std::string_view value;
  if (from[key].get(value) == simdjson::SUCCESS) to = value;
}
template <class Number>
void read_number(dom::element from, const char* key, Number& to) {
  double value = 0;
  if (from[key].get_double().get(value) != simdjson::SUCCESS) return;
  if (value >= 0 && value < 1e15) to = static_cast<Number>(value);
}
void read(dom::element from, const char* key, bool& to) {
  bool value = false;
  if (from[key].get(value) == simdjson::SUCCESS) to = value;
}

local::ModelFlags flags_for(const local::Settings& settings, const std::string& name) {
  for (const auto& [model, flags] : settings.flags)
    if (model == name) return flags;
  return {};
}

std::uint64_t memory_of(const KnownModel& model) {
  // Once measured with the same plan, the measurement is the better prediction.
  const auto& rates = model.rates;
  if (rates.resident > 0 && rates.context == model.plan.fit.context && rates.slots == model.plan.fit.slots)
    return rates.resident + model.fit.prompt_cache;
  return model.fit.ceiling();
}

KnownModel describe_entry(const local::Entry& entry, const local::Settings& settings, const local::RateBook& book,
                          const std::string& engine, int cores) {
  KnownModel model;
  model.name = entry.name;
  model.file = entry.file;
  model.origin = entry.origin;
  model.problem = entry.problem;
  model.scanned = true;
  model.file_bytes = entry.size;
  if (!entry.problem.empty()) {
    model.state = "failed";
    return model;
  }
  const auto& gguf = entry.model;
  model.quantisation = gguf.quantisation;
  model.architecture = gguf.architecture;
  model.parameters = gguf.parameters;
  model.file_bytes = gguf.file_bytes;
  model.trained_context = gguf.context;
  auto flags = flags_for(settings, entry.name);
  model.plan = local::plan_child(settings, flags, gguf, entry.file, cores);
  const auto* known = book.find(local::rates_key(entry.file, entry.size, entry.modified, model.plan.threads, engine));
  model.rates = known != nullptr ? *known : local::guess_rates(gguf, model.plan.threads, local::memory_bandwidth());
  // Once its speed is known, it reads in batches of a length to suit it.
  model.plan = local::plan_child(settings, flags, gguf, entry.file, cores, model.rates.prompt);
  model.plan.name = entry.name;
  model.plan.socket = settings.runtime_dir + "/e-….sock";
  model.fit = local::predict_memory(gguf, entry.repacked, model.plan.fit);
  model.memory = memory_of(model);
  return model;
}

void overlay_one(KnownModel& model, dom::element from) {
  read(from, "state", model.state);
  read(from, "problem", model.problem);
  read(from, "fits", model.fits);
  read(from, "calibrated", model.rates.measured);
  read_number(from, "resident_bytes", model.memory);
  read_number(from, "prompt_rate", model.rates.prompt);
  read_number(from, "output_rate", model.rates.output);
  read_number(from, "load_seconds", model.rates.load_seconds);
  read_number(from, "pid", model.pid);
  read_number(from, "running", model.running);
  read_number(from, "waiting", model.waiting);
  if (model.scanned) return;
  read(from, "file", model.file);
  read(from, "origin", model.origin);
  read(from, "architecture", model.architecture);
  read(from, "quantisation", model.quantisation);
  read_number(from, "parameters", model.parameters);
  read_number(from, "file_bytes", model.file_bytes);
  read_number(from, "context", model.plan.fit.context);
}

std::string variable_of_process(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

} // namespace

KnownModels scan_models(const local::Settings& settings, const local::Variable& variable, int cores) {
  KnownModels out;
  auto engine = local::find_engine(settings, variable("PATH"));
  if (engine) out.engine = *engine;
  else out.engine_problem = engine.error().message;
  local::RateBook book(settings.state_dir + "/rates.json");
  book.load();
  out.budget = local::memory_budget(settings.memory_limit, 0);
  local::Catalogue catalogue;
  for (const auto& entry : catalogue.scan(local::store_places(settings, variable))) {
    auto model = describe_entry(entry, settings, book, out.engine, cores);
    model.fits = model.memory <= out.budget;
    out.list.push_back(std::move(model));
  }
  return out;
}

void overlay_status(KnownModels& models, std::string_view status_json) {
  dom::parser parser;
  dom::element root;
  dom::array list;
  if (parser.parse(status_json.data(), status_json.size()).get(root) || root["local_models"].get(list)) return;
  models.daemon = true;
  for (auto from : list) {
    std::string name;
    read(from, "name", name);
    if (name.empty()) continue;
    auto at = std::ranges::find(models.list, name, &KnownModel::name);
    if (at == models.list.end()) {
      models.list.emplace_back().name = name;
      at = models.list.end() - 1;
    }
    overlay_one(*at, from);
  }
}

KnownModels known_models(const config::Config& config) {
  auto models = scan_models(config.local, variable_of_process,
                            static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  auto hasty = config; // whoever has the port may say nothing at all
  hasty.server.request_timeout = milliseconds{3'000};
  if (auto answer = ask_daemon(hasty, {.path = "/intertie/v1/status"}); answer && answer->status == 200)
    overlay_status(models, answer->body);
  return models;
}

Result<const KnownModel*> find_model(const KnownModels& models, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& model : models.list) {
    if (model.name == name || "local/" + model.name == name) return &model;
    names.push_back(model.name);
  }
  auto near = text::suggest(name, names);
  std::string meant;
  for (const auto& one : near) meant += (meant.empty() ? "; did you mean " : " or ") + one;
  return fail(
      FailureKind::NotFound, Fault::Client,
      fmt::format("there is no model {} on this machine{}; `intertie models list` shows which there are", name, meant),
      "model_not_found");
}

std::string human_parameters(std::uint64_t parameters) {
  auto value = static_cast<double>(parameters);
  if (parameters == 0) return "?";
  if (value < 999.5e6) return fmt::format("{:.0f} M", std::max(1.0, value / 1e6));
  return value < 99.5e9 ? fmt::format("{:.1f} B", value / 1e9) : fmt::format("{:.0f} B", value / 1e9);
}

std::string human_milliseconds(milliseconds time) {
  auto ms = time.count();
  if (ms < 1000) return fmt::format("{} ms", ms);
  return ms < 60'000 ? fmt::format("{:.1f} s", static_cast<double>(ms) / 1e3)
                     : fmt::format("{} min", (ms + 30'000) / 60'000);
}

std::string model_json(const KnownModel& model) {
  json::Object memory;
  memory.add("weights", model.fit.weights).add("repacked", model.fit.repacked).add("kv_cache", model.fit.kv_cache);
  memory.add("compute", model.fit.compute)
      .add("runtime", model.fit.runtime)
      .add("prompt_cache", model.fit.prompt_cache);
  json::Object estimate;
  estimate.add("calibrated", model.rates.measured);
  estimate.add("prompt_tokens_per_second", model.rates.prompt).add("output_tokens_per_second", model.rates.output);
  estimate.add("load_seconds", model.rates.load_seconds);
  estimate.add("first_token_ms_500", std::int64_t{local::first_token(model.rates, kShortPrompt).count()});
  estimate.add("first_token_ms_2000", std::int64_t{local::first_token(model.rates, kLongPrompt).count()});
  json::Array command;
  if (model.scanned && model.state != "failed")
    for (const auto& word : local::child_arguments(model.plan)) command.add(word);
  json::Object o;
  o.add("name", model.name).add("state", model.state).add("file", model.file).add("origin", model.origin);
  o.add("architecture", model.architecture).add("quantisation", model.quantisation).add("parameters", model.parameters);
  o.add("file_bytes", model.file_bytes).add("trained_context", model.trained_context);
  o.add("context", model.plan.fit.context).add("slots", model.plan.fit.slots);
  o.add("memory_bytes", model.memory)
      .add("fits", model.fits)
      .raw("memory", memory.str())
      .raw("estimate", estimate.str());
  o.add("pid", model.pid).add("running", model.running).add("waiting", model.waiting).add("problem", model.problem);
  o.raw("arguments", command.str());
  return o.str();
}

} // namespace intertie::bin
