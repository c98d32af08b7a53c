// The effective configuration as TOML that reads back, and the sample for `intertie config init`.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/parts.hpp"
#include "core/json.hpp"

namespace intertie::config {
namespace {
// A TOML basic string takes JSON's escapes.
std::string quote(std::string_view text) {
  auto out = json::quoted(text);
  for (std::size_t at = 0; (at = out.find('\x7F', at)) != std::string::npos;) out.replace(at, 1, "\\u007f");
  return out;
}
std::string quote(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const auto& text : texts) quoted.push_back(quote(text));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}
std::string keep_alive(seconds duration) { return duration < seconds{0} ? "never" : render_duration(duration); }
std::string bytes(std::uint64_t size) { return size == 0 ? "" : fmt::format("{} B", size); }
std::string dollars(std::int64_t micro) { return fmt::format("{}", static_cast<double>(micro) / 1e6); }

std::string url_text(const net::Url& url) {
  if (url.endpoint.transport == net::Endpoint::Transport::Unix)
    return url.path.empty() ? "unix:" + url.endpoint.host : fmt::format("unix:{}:{}", url.endpoint.host, url.path);
  bool tls = url.endpoint.transport == net::Endpoint::Transport::Tls;
  bool six = url.endpoint.host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}{}", tls ? "https" : "http", six ? "[" : "", url.endpoint.host, six ? "]" : "",
                     url.endpoint.port, url.path);
}

void show_model(std::string& out, const provider::Provider& p, const provider::ConfiguredModel& m) {
  auto line = std::back_inserter(out);
  fmt::format_to(line, "\n[[model]]\nname = {}\nprovider = {}\nmodel = {}\n", quote(m.alias.empty() ? m.name : m.alias),
                 quote(p.name), quote(m.name));
  if (m.context != 0) fmt::format_to(line, "context = {}\n", m.context);
  if (m.caps_known) fmt::format_to(line, "caps = {}\n", quote(cap_names(m.caps)));
  if (m.price)
    fmt::format_to(line, "input_price = {}\ncached_input_price = {}\noutput_price = {}\n", dollars(m.price->input),
                   dollars(m.price->cached_input), dollars(m.price->output));
  if (m.quality != 0) fmt::format_to(line, "quality = {}\n", m.quality);
}

void show_provider(std::string& out, const provider::Provider& p, const std::string& reference) {
  auto line = std::back_inserter(out);
  fmt::format_to(line, "\n[[provider]]\nname = {}\nkind = {}\nbase_url = {}\n", quote(p.name), quote(p.spec->name),
                 quote(url_text(p.url)));
  if (!reference.empty()) fmt::format_to(line, "key = {}    # {}\n", quote(reference), quote(p.key_source));
  fmt::format_to(line, "place = \"{}\"\ntrust = \"{}\"\npaid = {}\n", to_string(p.place), to_string(p.trust), p.paid);
  if (!p.api_version.empty()) fmt::format_to(line, "api_version = {}\n", quote(p.api_version));
  if (!p.url.endpoint.ca_file.empty()) fmt::format_to(line, "ca_file = {}\n", quote(p.url.endpoint.ca_file));
  if (!p.url.endpoint.proxy.empty()) fmt::format_to(line, "proxy = {}\n", quote(p.url.endpoint.proxy));
  fmt::format_to(line, "connect_timeout = \"{}\"\nfirst_byte_timeout = \"{}\"\nidle_timeout = \"{}\"\n",
                 render_duration(p.timeouts.connect), render_duration(p.timeouts.first_byte),
                 render_duration(p.timeouts.idle));
  for (const auto& model : p.models) show_model(out, p, model);
}
} // namespace

std::string policy_text(const route::Policy& policy) {
  std::string out;
  auto line = std::back_inserter(out);
  fmt::format_to(
      line, "[policy]\npaid = {}\nfurthest = \"{}\"\nsmall_tokens = {}\nhigh_end_quality = {}\nprefer = {}\n",
      policy.paid, to_string(policy.furthest), policy.small_tokens, policy.high_end_quality, quote(policy.prefer));
  out += "\n[policy.matrix]\n";
  for (std::size_t c = 0; c < kClasses; ++c) {
    std::vector<std::string> actions;
    for (auto action : policy.matrix.actions[c]) actions.emplace_back(to_string(action));
    fmt::format_to(line, "{} = {}\n", to_string(static_cast<DataClass>(c)), quote(actions));
  }
  fmt::format_to(line, "unknown = \"{}\"\n", to_string(policy.matrix.unknown));
  return out;
}

std::string show_config(const Config& c) {
  std::string out = fmt::format("# from {}\n# receipts: {}\n# policy digest: {}\n\n", c.paths.config_file,
                                c.paths.receipts_file, c.policy.digest());
  auto line = std::back_inserter(out);
  bool six = c.server.address.find(':') != std::string::npos;
  fmt::format_to(line,
                 "[server]\nlisten = \"{}{}{}:{}\"\nsocket = {}\nio_threads = {}\nrequest_timeout = \"{}\"\n"
                 "keepalive_after = \"{}\"\nmax_body = \"{}\"\nmax_body_time = \"{}\"\nmax_connections = {}\n",
                 six ? "[" : "", c.server.address, six ? "]" : "", c.server.port,
                 quote(c.server.socket.empty() ? "none" : c.server.socket), c.server.io_threads,
                 render_duration(c.server.request_timeout), render_duration(c.server.keepalive_after),
                 bytes(c.server.max_body), render_duration(c.server.max_body_time), c.server.max_connections);
  fmt::format_to(line, "\n[log]\nlevel = \"{}\"\n\n{}", c.log_level, policy_text(c.policy));
  const auto& l = c.local;
  fmt::format_to(line,
                 "\n[local]\nengine = {}\ndata_dir = {}\nmemory_limit = \"{}\"\ndisk_limit = \"{}\"\nkeep_alive = "
                 "\"{}\"\nthreads = {}\n"
                 "dedicated = {}\nqueue = {}\nimport_ollama = {}\nimport_lmstudio = {}\nimport_hf = {}\nstores = {}\n",
                 quote(l.engine), quote(l.data_dir), bytes(l.memory_limit), bytes(l.disk_limit),
                 keep_alive(l.keep_alive), l.threads, l.dedicated, l.queue_length, l.import_ollama, l.import_lmstudio,
                 l.import_hf, quote(l.store_dirs));
  for (const auto& [name, flags] : l.flags) {
    fmt::format_to(line,
                   "\n[local.model.{}]\ncontext = {}\nslots = {}\npinned = {}\nkeep_alive = \"{}\"\narguments = {}\n",
                   quote(name), flags.context, flags.slots, flags.pinned,
                   flags.keep_alive ? keep_alive(*flags.keep_alive) : "", quote(flags.arguments));
  }
  for (std::size_t i = 0; i < c.providers.size(); ++i) show_provider(out, c.providers[i], c.key_references[i]);
  return out;
}

std::string_view default_config_text() {
  return R"(# Intertie's configuration. Every key has the default shown; docs/config.md explains each of them.
# `intertie config show` prints what is in force. Changes are taken over at once; a mistake keeps the old one running.

[server]
# listen = "127.0.0.1:4683"      # loopback only
# socket = ""                    # "" = $XDG_RUNTIME_DIR/intertie/intertie.sock, "none" = no unix socket
# request_timeout = "10m"

[policy]
# paid = false                   # may places that cost money be used?
# furthest = "cloud"             # "device" keeps everything on this machine, "edge" on servers of your own
# small_tokens = 2000            # prompts this short are small tasks: this device first

[local]
# engine = ""                    # path of llama-server, "none", or "" = find it
# memory_limit = ""              # such as "6 GB"; "" = 80 % of what is free
# disk_limit = ""                # for all pulled models together, such as "50 GB"; "" = none
# keep_alive = "10m"             # how long an idle model stays loaded

# Clouds are used only when they are configured here, and paid ones only with [policy] paid = true.
# The key is never in this file: "env:NAME", "file:/path" (mode 0600) or "credential:NAME" says where it is.
#
# [[provider]]
# name = "openai"
# key = "env:OPENAI_API_KEY"
# models = ["gpt-4o-mini"]
#
# [[provider]]                   # a server of your own
# name = "office"
# kind = "vllm"
# base_url = "http://10.0.0.5:8000/v1"
# models = ["qwen3-32b"]
#
# [[model]]                      # a name of your own for a model, and what is known about it
# name = "fast"
# provider = "openai"
# model = "gpt-4o-mini"
# context = 128000
# caps = ["tools", "vision", "json_object", "json_schema", "logprobs"]
# input_price = 0.15             # dollars per million tokens
# output_price = 0.6
# quality = 70                   # 0 to 100; only the order matters
)";
}
} // namespace intertie::config
