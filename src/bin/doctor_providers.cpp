// Checks of the configured providers: keys where they should be and for nobody else's eyes, servers within reach.
#include <sys/stat.h>

#include <filesystem>

#include <fmt/format.h>

#include "bin/doctor.hpp"
#include "bin/providers_probe.hpp"

namespace intertie::bin {
namespace {

// Paid places that are off are left alone: doctor reaches nobody that a request could not reach.
bool reachable_by_policy(const config::Config& config, const provider::Provider& p) {
  return (config.policy.paid || !p.paid) && p.place <= config.policy.furthest;
}

// What each provider answered; asked once for both rows that want to know.
struct Reached {
  const provider::Provider* provider;
  Result<Answer> answer;
};
std::vector<Reached> reach_all(const World& world, const config::Config& config) {
  std::vector<Reached> out;
  for (const auto& p : config.providers)
    if (world.list_models && reachable_by_policy(config, p)) out.push_back({&p, world.list_models(p)});
  return out;
}

// "environment NAME (not set)" → NAME
std::string key_variable(const provider::Provider& p) {
  constexpr std::string_view kIn = "environment ";
  if (!p.key_source.starts_with(kIn)) return std::string(p.spec->key_env);
  auto name = p.key_source.substr(kIn.size());
  return name.substr(0, name.find(' '));
}

void join(std::string& to, const std::string& what) { to += (to.empty() ? "" : "; ") + what; }

} // namespace

Verdict check_keys(const World& world) {
  const auto* config = world.valid();
  if (config == nullptr) return {Level::Warn, "not looked at: the configuration is invalid"};
  std::string missing, fix;
  int found = 0;
  for (const auto& p : config->providers) {
    if (!p.key.empty()) ++found;
    if (!key_missing(p)) continue;
    join(missing, fmt::format("{} has no key ({})", p.name, key_state(p)));
    if (fix.empty())
      fix = fmt::format(
          "export {}=… where the daemon starts, or say key = \"file:/path\" (mode 0600) in its [[provider]]",
          key_variable(p));
  }
  if (!missing.empty()) return {Level::Fail, missing, fix};
  return {Level::Ok, found == 0 ? "no provider needs a key"
                                : fmt::format("{} found", found == 1 ? "1 key" : fmt::format("{} keys", found))};
}

Verdict check_key_files(const World& world) {
  const auto* config = world.valid();
  constexpr std::string_view kOthers = "which others may read";
  if (config == nullptr) {
    // The reader refuses such a file before a key gets anywhere.
    auto message = world.config != nullptr ? world.config->error().message : std::string{};
    if (message.find(kOthers) == std::string::npos) return {Level::Warn, "not looked at: the configuration is invalid"};
    auto chmod = message.find("chmod");
    return {Level::Fail, message, chmod == std::string::npos ? "chmod 600 the file" : message.substr(chmod)};
  }
  for (const auto& p : config->providers) {
    constexpr std::string_view kIn = "file ";
    if (!p.key_source.starts_with(kIn)) continue;
    auto file = p.key_source.substr(kIn.size());
    struct stat facts{};
    if (::stat(file.c_str(), &facts) == 0 && (facts.st_mode & (S_IRWXG | S_IRWXO)) != 0)
      return {Level::Fail,
              fmt::format("the key file {} may be read by others (mode {:04o})", file,
                          static_cast<unsigned>(facts.st_mode & 07777)),
              fmt::format("chmod 600 '{}', and make a new key: the old one may be known", file)};
  }
  return {Level::Ok, "no key file can be read by others"};
}

Verdict check_providers(const World& world) {
  const auto* config = world.valid();
  if (config == nullptr) return {Level::Warn, "not asked: the configuration is invalid"};
  if (config->providers.empty()) return {Level::Ok, "none is configured: nothing leaves this machine"};
  std::string unreachable, first;
  std::size_t asked = 0;
  for (const auto& [provider, answer] : reach_all(world, *config)) {
    ++asked;
    if (answer) continue;
    join(unreachable, fmt::format("{}: {}", provider->name, answer.error().message));
    if (first.empty()) first = provider->name;
  }
  if (!unreachable.empty()) return {Level::Warn, unreachable, fmt::format("intertie providers test {}", first)};
  auto off = config->providers.size() - asked;
  return {Level::Ok,
          fmt::format("{} within reach{}", asked, off == 0 ? "" : fmt::format(", {} not asked (off by policy)", off))};
}

Verdict check_keys_accepted(const World& world) {
  const auto* config = world.valid();
  if (config == nullptr) return {Level::Warn, "not asked: the configuration is invalid"};
  std::string refused, first;
  for (const auto& [provider, answer] : reach_all(world, *config)) {
    if (!answer || key_missing(*provider) || (answer->status != 401 && answer->status != 403)) continue;
    join(refused, fmt::format("{} refuses its key with {} ({})", provider->name, answer->status, provider->key_source));
    if (first.empty()) first = provider->name;
  }
  if (refused.empty()) return {Level::Ok, "no key was refused"};
  return {Level::Fail, refused,
          fmt::format("make a new key with the provider, put it there, then: intertie providers test {}", first)};
}

} // namespace intertie::bin
