// intertie models list|show|rm.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <fmt/format.h>

#include "bin/daemon_client.hpp"
#include "bin/models_files.hpp"
#include "bin/models_hash.hpp"
#include "bin/models_known.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "core/json.hpp"
#include "core/text.hpp"

namespace intertie::bin {
namespace {

std::string speed_of(const KnownModel& model) {
  if (model.rates.output <= 0) return "?";
  return fmt::format("{}{:.0f} tok/s", model.rates.measured ? "" : "~", model.rates.output);
}

// Coloured words would upset the columns, so the state goes plain into the table and the problem below it.
std::vector<std::string> list_row(const KnownModel& model) {
  bool broken = model.state == "failed" && model.parameters == 0;
  auto state = broken ? std::string("unusable") : !model.fits ? std::string("too large") : model.state;
  return {model.name,
          text::human_bytes(model.file_bytes),
          broken ? "-" : model.quantisation,
          broken ? "-" : human_parameters(model.parameters),
          broken ? "-" : text::human_bytes(model.memory),
          broken ? "-" : speed_of(model),
          state,
          model.origin};
}

void print_list(const KnownModels& models) {
  std::vector<std::vector<std::string>> rows{{"NAME", "SIZE", "QUANT", "PARAMS", "MEMORY", "SPEED", "STATE", "FROM"}};
  bool guessed = false;
  for (const auto& model : models.list) {
    rows.push_back(list_row(model));
    guessed = guessed || (!model.rates.measured && model.rates.output > 0);
  }
  fmt::print("{}", table(rows));
  if (models.list.empty()) {
    fmt::print("No model yet: intertie models add FILE.gguf, or intertie models pull URL --sha256 HASH\n");
    return;
  }
  std::fflush(stdout);
  // Remarks go to stderr, so that the table stays one for programs.
  for (const auto& model : models.list)
    if (!model.problem.empty() && model.problem != models.engine_problem)
      fmt::print(stderr, "{}: {}\n", model.name, model.problem);
  if (!models.engine_problem.empty()) fmt::print(stderr, "No engine: {}\n", models.engine_problem);
  if (guessed) fmt::print(stderr, "~ is a guess from size and memory; it is measured when the model is first used.\n");
  if (!models.daemon) fmt::print(stderr, "No daemon is running: nothing is loaded.\n");
}

std::string shell_words(const std::string& program, const std::vector<std::string>& words) {
  std::string out = program.empty() ? "llama-server" : program;
  for (const auto& word : words) {
    bool plain = !word.empty() && word.find_first_not_of(
                                      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                      "-_./=:,+@…") == std::string::npos;
    out += plain ? " " + word : " '" + word + "'";
  }
  return out;
}

void print_memory(const KnownModel& model, std::uint64_t budget) {
  const auto& fit = model.fit;
  fmt::print("Memory:     {} ({}; models may use {} together)\n", text::human_bytes(model.memory),
             model.fits ? paint(Colour::Green, "fits") : paint(Colour::Red, "does not fit"), text::human_bytes(budget));
  if (!model.scanned) return;
  fmt::print(
      "            weights {}, copies for this processor {}, conversation {}, computing {}, program {},\n"
      "            kept prompts up to {}\n",
      text::human_bytes(fit.weights), text::human_bytes(fit.repacked), text::human_bytes(fit.kv_cache),
      text::human_bytes(fit.compute), text::human_bytes(fit.runtime), text::human_bytes(fit.prompt_cache));
}

void print_estimate(const KnownModel& model) {
  const auto& rates = model.rates;
  auto how = rates.measured ? paint(Colour::Green, "calibrated on this machine")
                            : paint(Colour::Yellow, "estimated; measured when it is first used");
  fmt::print("Speed:      {:.0f} tokens/s out, {:.0f} tokens/s in ({})\n", rates.output, rates.prompt, how);
  fmt::print("            first token after {} for a prompt of 500 tokens, {} for 2000",
             human_milliseconds(local::first_token(rates, 500)), human_milliseconds(local::first_token(rates, 2000)));
  fmt::print("; {:.1f} s more from cold\n", rates.load_seconds);
}

void print_model(const KnownModel& model, const KnownModels& all) {
  fmt::print("{}\n", paint(Colour::Bold, model.name));
  fmt::print("File:       {} ({}, from {})\n", model.file, text::human_bytes(model.file_bytes), model.origin);
  auto hash = recorded_hash(model.file);
  if (hash && !hash->empty()) fmt::print("SHA-256:    {} (as recorded; `intertie doctor` compares it)\n", *hash);
  if (model.parameters > 0)
    fmt::print("Model:      {}, {} parameters, {}, trained for {} tokens\n", model.architecture,
               human_parameters(model.parameters), model.quantisation, model.trained_context);
  auto state = model.state;
  if (model.pid > 0)
    state += fmt::format(", process {}, {} running, {} waiting", model.pid, model.running, model.waiting);
  fmt::print("State:      {}{}\n", state, all.daemon ? "" : " (no daemon is running)");
  if (!model.problem.empty()) fmt::print("Problem:    {}\n", paint(Colour::Red, model.problem));
  if (model.parameters == 0) return;
  fmt::print("Context:    {} tokens, {} at a time\n", model.plan.fit.context, std::max(1U, model.plan.fit.slots));
  print_memory(model, all.budget);
  print_estimate(model);
  if (!all.engine_problem.empty()) fmt::print("Engine:     {}\n", paint(Colour::Red, all.engine_problem));
  if (model.scanned) fmt::print("Started as: {}\n", shell_words(all.engine, local::child_arguments(model.plan)));
}

} // namespace

int models_list(const Options& options, const config::Config& config) {
  auto models = known_models(config);
  if (!options.json) {
    print_list(models);
    return kOk;
  }
  json::Array list;
  for (const auto& model : models.list) list.raw(model_json(model));
  json::Object o;
  o.add("daemon", models.daemon).add("engine", models.engine).add("engine_problem", models.engine_problem);
  o.add("memory_budget", models.budget).raw("models", list.str());
  fmt::print("{}\n", o.str());
  return kOk;
}

int models_show(const Options& options, const config::Config& config) {
  auto models = known_models(config);
  auto model = find_model(models, options.name);
  if (!model) return complain(model.error());
  if (options.json) fmt::print("{}\n", model_json(**model));
  else print_model(**model, models);
  return kOk;
}

int models_rm(const Options& options, const config::Config& config) {
  auto models = known_models(config);
  auto model = find_model(models, options.name);
  if (!model) return complain(model.error());
  // A child that runs would keep the weights mapped; it drains first and is never cut.
  if (models.daemon)
    (void)ask_daemon(config, {.method = "POST", .path = fmt::format("/intertie/v1/models/{}/unload", (*model)->name)});
  auto removed = remove_model(config.local.data_dir, (*model)->file);
  if (!removed) return complain(removed.error());
  if (models.daemon) (void)ask_daemon(config, {.method = "POST", .path = "/intertie/v1/rescan"});
  if (options.json) {
    json::Object o;
    o.add("removed", (*model)->name).add("deleted_bytes", removed->deleted).add("left_in_place", removed->left);
    fmt::print("{}\n", o.str());
    return kOk;
  }
  if (removed->left.empty()) fmt::print("deleted {} ({})\n", (*model)->name, text::human_bytes(removed->deleted));
  else fmt::print("forgot {}; its file stays: {}\n", (*model)->name, removed->left);
  return kOk;
}

} // namespace intertie::bin
