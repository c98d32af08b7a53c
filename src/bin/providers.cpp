// intertie providers list|test: who may answer, whom you trust with what, and whether they can be reached.
#include <algorithm>

#include <fmt/format.h>

#include "bin/providers_probe.hpp"
#include "bin/terminal.hpp"
#include "bin/verbs.hpp"
#include "core/json.hpp"
#include "core/text.hpp"

namespace intertie::bin {
namespace {

std::string paid_word(bool paid, bool on) { return !paid ? "no" : on ? "yes" : "yes (off)"; }

void print_configured(const config::Config& config) {
  if (config.providers.empty()) {
    fmt::print("No provider is configured: only the models of this machine answer, and nothing leaves it.\n");
    return;
  }
  std::vector<std::vector<std::string>> rows{{"NAME", "KIND", "PLACE", "TRUST", "PAID", "MODELS", "KEY"}};
  for (const auto& p : config.providers)
    rows.push_back({p.name, std::string(p.spec->name), std::string(to_string(p.place)),
                    fmt::format("{} {}", to_string(p.trust), describe(p.trust)), paid_word(p.paid, config.policy.paid),
                    std::to_string(p.models.size()), key_state(p)});
  fmt::print("{}", table(rows));
}

void print_kinds(const config::Config& config) {
  std::vector<std::vector<std::string>> rows{{"KIND", "PLACE", "TRUST", "PAID", "KEY FROM", "WHAT"}};
  for (const auto& spec : provider::specs())
    rows.push_back({std::string(spec.name), std::string(to_string(spec.place)), std::string(to_string(spec.trust)),
                    spec.paid ? "yes" : "no", spec.key_env.empty() ? "-" : std::string(spec.key_env),
                    std::string(spec.title)});
  fmt::print("\n{}\n{}", paint(Colour::Bold, "Kinds that can be configured as [[provider]]"), "\n");
  fmt::print("{}", table(rows));
  if (!config.policy.paid)
    fmt::print("\nPaid places are off: nothing that costs money is used until [policy] paid = true.\n");
  fmt::print("Whom you trust with what: intertie providers list --json\n");
}

std::string provider_json(const provider::Provider& p) {
  json::Array models;
  for (const auto& model : p.models) models.add(model.name);
  json::Object o;
  o.add("name", p.name).add("kind", p.spec->name).add("host", p.url.endpoint.host).add("place", to_string(p.place));
  o.add("trust", to_string(p.trust)).add("paid", p.paid).add("key", key_state(p)).add("key_missing", key_missing(p));
  o.add("trusts", p.spec->trusts).raw("models", models.str());
  return o.str();
}

std::string kind_json(const provider::ProviderSpec& spec) {
  json::Object o;
  o.add("kind", spec.name).add("title", spec.title).add("base_url", spec.base_url).add("place", to_string(spec.place));
  o.add("trust", to_string(spec.trust)).add("paid", spec.paid).add("key_from", spec.key_env).add("trusts", spec.trusts);
  return o.str();
}

Result<const provider::Provider*> find_provider(const config::Config& config, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& p : config.providers) {
    if (p.name == name) return &p;
    names.push_back(p.name);
  }
  if (provider::find_spec(name) != nullptr)
    return fail(FailureKind::NotFound, Fault::Client,
                fmt::format("{} isn't configured: add to {}:\n\n[[provider]]\nname = \"{}\"\nmodels = [\"…\"]", name,
                            config.paths.config_file, name),
                "provider_not_found");
  auto near = text::suggest(name, names);
  return fail(FailureKind::NotFound, Fault::Client,
              fmt::format("no provider {}{}", name,
                          near.empty() ? "; `intertie providers list` shows which there are"
                                       : "; did you mean " + near.front() + "?"),
              "provider_not_found");
}

void print_step(const Step& step) {
  Colour colour = step.state == StepState::Ok       ? Colour::Green
                  : step.state == StepState::Failed ? Colour::Red
                                                    : Colour::Dim;
  fmt::print("{} {:<11} {}\n", paint(colour, fmt::format("{:<7}", to_string(step.state))), step.name, step.what);
  if (!step.fix.empty()) fmt::print("                    → {}\n", step.fix);
}

} // namespace

int providers_list(const Options& options, const config::Config& config) {
  if (!options.json) {
    print_configured(config);
    print_kinds(config);
    return kOk;
  }
  json::Array configured, kinds;
  for (const auto& p : config.providers) configured.raw(provider_json(p));
  for (const auto& spec : provider::specs()) kinds.raw(kind_json(spec));
  json::Object o;
  o.add("paid_places", config.policy.paid).raw("configured", configured.str()).raw("kinds", kinds.str());
  fmt::print("{}\n", o.str());
  return kOk;
}

int providers_test(const Options& options, const config::Config& config) {
  auto found = find_provider(config, options.name);
  if (!found) return complain(found.error());
  Probe probe;
  probe.may_pay = config.policy.paid;
  auto steps = probe_provider(**found, probe);
  bool failed = std::ranges::any_of(steps, [](const Step& step) { return step.state == StepState::Failed; });
  if (!options.json) {
    for (const auto& step : steps) print_step(step);
    return failed ? kFailed : kOk;
  }
  json::Array list;
  for (const auto& step : steps) {
    json::Object o;
    o.add("step", step.name).add("state", to_string(step.state)).add("what", step.what).add("fix", step.fix);
    list.raw(o.str());
  }
  fmt::print("{}\n", json::Object{}.add("provider", options.name).add("ok", !failed).raw("steps", list.str()).str());
  return failed ? kFailed : kOk;
}

} // namespace intertie::bin
