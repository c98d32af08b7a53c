// The command line: which verb, with which options. Everything a verb does is in its own file.
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "bin/verbs.hpp"
#include "core/log.hpp"

namespace intertie::bin {
namespace {

constexpr const char* kFooter = R"(Examples:
  intertie serve                                  start the daemon on 127.0.0.1:4683
  intertie ask "What is the capital of France?" --stream --why
  intertie explain                                where the last answer came from, and why
  git diff | intertie ask "Review this change:"   what is piped in follows the question
  intertie models list                            what can run here
  intertie set local.memory_limit "6 GB"          one key of the configuration; MODEL.FLAG for a model's engine
  OPENAI_BASE_URL=http://127.0.0.1:4683/v1 any-openai-client --model auto

Exit codes: 0 done · 1 failed · 2 wrong use · 3 configuration invalid · 4 no daemon is running · 5 refused by policy)";

// What the command line says goes over the environment, which goes over the file.
config::Environment environment_of(const Options& options) {
  auto environment = config::Environment::of_process();
  auto set = [&](const char* name, const std::string& value) {
    if (!value.empty()) environment.variables[name] = value;
  };
  set("INTERTIE_CONFIG", options.config_file);
  set("INTERTIE_SERVER_LISTEN", options.listen);
  set("INTERTIE_LOCAL_ENGINE", options.engine);
  if (options.io_threads > 0) set("INTERTIE_SERVER_IO_THREADS", std::to_string(options.io_threads));
  return environment;
}

using Verb = std::function<int(const Options&, const Result<config::Config>&)>;
using PlainVerb = int (*)(const Options&, const config::Config&);

// A verb that needs a valid configuration.
Verb with_config(PlainVerb verb) {
  return [verb](const Options& options, const Result<config::Config>& config) {
    if (!config) {
      (void)complain(config.error());
      return static_cast<int>(kBadConfig);
    }
    return verb(options, *config);
  };
}

// A verb that mends the configuration: it runs with an invalid one too, and then knows only where things are.
Verb with_paths(PlainVerb verb) {
  return [verb](const Options& options, const Result<config::Config>& config) {
    if (config) return verb(options, *config);
    auto paths = config::find_paths(environment_of(options));
    if (!paths) return complain(paths.error());
    config::Config bare;
    bare.paths = *paths;
    bare.local.data_dir = paths->data_dir;
    return verb(options, bare);
  };
}

struct CommandLine {
  CLI::App app{"Intertie — the switch between your own machine and the cloud.", "intertie"};
  Options options;
  Verb chosen;

  CLI::App* verb(CLI::App* parent, const char* name, const char* what, Verb run) {
    auto* sub = parent->add_subcommand(name, what);
    sub->final_callback([this, run = std::move(run)] { chosen = run; });
    return sub;
  }
  void json(CLI::App* sub) { sub->add_flag("--json", options.json, "machine-readable output"); }

  void talk() {
    auto* serve_verb = verb(&app, "serve", "run the daemon", [](const Options& o, const Result<config::Config>& c) {
      if (!c) {
        (void)complain(c.error());
        return static_cast<int>(kBadConfig);
      }
      return serve(o, *c);
    });
    serve_verb->add_option("--listen", options.listen, "address:port (default 127.0.0.1:4683; port 0 picks one)");
    serve_verb->add_option("--engine", options.engine, "path of llama-server, or `none` for remote only");
    serve_verb->add_option("--io-threads", options.io_threads, "threads for connections (default 1)")
        ->check(CLI::Range(1, 64));
    auto* ask_verb = verb(&app, "ask", "ask a question; what is piped in follows it", with_config(ask));
    ask_verb->add_option("question", options.question, "the question; `-` reads it from standard input");
    ask_verb->add_flag("--stream", options.stream, "print the answer as it comes");
    ask_verb->add_option("--model", options.model,
                         "auto, auto:private|fast|cheap|best, provider/model, or a bare name");
    ask_verb->add_option("--system", options.system, "a system message");
    ask_verb->add_option("--max-tokens", options.max_tokens, "most tokens of the answer");
    ask_verb->add_flag("--why", options.why, "say where it ran and why");
    json(ask_verb);
  }
  void look() {
    auto* explain_verb = verb(&app, "explain", "where an answer came from, and why", with_config(explain));
    explain_verb->add_option("id", options.id,
                             "a decision's id (X-Intertie-Decision), its first characters, or `last`");
    json(explain_verb);
    auto* receipts_verb = verb(&app, "receipts", "what ran where, and what it cost", with_config(receipts));
    receipts_verb->add_flag("--follow", options.follow, "go on printing new ones");
    receipts_verb->add_option("--limit", options.limit, "how many (default 20)")->check(CLI::Range(1, 10000));
    json(receipts_verb);
    json(verb(&app, "status", "what the running daemon is doing", with_config(status)));
    json(verb(&app, "doctor", "find what is wrong, and how to mend it", doctor));
    verb(&app, "version", "print the version", [](const Options&, const Result<config::Config>&) {
      fmt::print("intertie {}\n", INTERTIE_VERSION);
      return static_cast<int>(kOk);
    });
    auto* completion_verb = verb(&app, "completion", "print a shell completion script",
                                 [](const Options& o, const Result<config::Config>&) { return completion(o); });
    completion_verb->add_option("shell", options.shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  }
  void keep() {
    auto* models = app.add_subcommand("models", "the local models");
    models->require_subcommand(1);
    json(verb(models, "list", "what can run here, its size and speed", with_config(models_list)));
    auto* show =
        verb(models, "show", "one model: size, memory, speed, how it would be started", with_config(models_show));
    show->add_option("name", options.name)->required();
    json(show);
    auto* add = verb(models, "add", "use a GGUF file where it lies (nothing is copied)", with_config(models_add));
    add->add_option("file", options.file)->required()->check(CLI::ExistingFile);
    add->add_option("--name", options.name, "its name (default: the file's)");
    json(add);
    auto* pull = verb(models, "pull", "download a GGUF by URL, resumable and verified", with_config(models_pull));
    pull->add_option("url", options.file)->required();
    pull->add_option("--sha256", options.sha256, "its hash, 64 hex digits")->required();
    pull->add_option("--name", options.name, "its name (default: the file's)");
    json(pull);
    auto* rm = verb(models, "rm", "forget a model (deletes it only if Intertie downloaded it)", with_config(models_rm));
    rm->add_option("name", options.name)->required();
    json(rm);
    auto* providers = app.add_subcommand("providers", "the servers an Ask may go to");
    providers->require_subcommand(1);
    json(verb(providers, "list", "configured providers, and the kinds there are", with_config(providers_list)));
    auto* test = verb(providers, "test", "reach a provider and say what it answers", with_config(providers_test));
    test->add_option("name", options.name)->required();
    json(test);
    auto* check_verb = verb(&app, "check", "what private data a text holds, and where it could go", with_config(check));
    check_verb->add_option("file", options.file, "a text file; standard input when left out");
    json(check_verb);
    auto* config_verb = app.add_subcommand("config", "the configuration");
    config_verb->require_subcommand(1);
    json(verb(config_verb, "show", "the configuration in force", with_config(config_show)));
    json(verb(config_verb, "path", "where it is read from", with_paths(config_path)));
    verb(config_verb, "init", "write a commented sample", with_paths(config_init))
        ->add_flag("--force", options.force, "over an existing file");
    auto* set_verb = verb(&app, "set", "change one key of the configuration file, checked first", with_paths(set));
    set_verb->add_option("key", options.key, "SECTION.KEY, or MODEL.FLAG for any flag of a model's engine")->required();
    set_verb->add_option("value", options.value, "its new value (or write KEY=VALUE)");
    set_verb->add_flag("--unset", options.unset, "take the key out: its default holds again");
    json(set_verb);
  }
};

int run(int argc, char** argv) {
  CommandLine line;
  line.app.footer(kFooter);
  line.app.require_subcommand(1);
  line.app.set_version_flag("--version", "intertie " INTERTIE_VERSION);
  line.app.add_option("--config", line.options.config_file, "configuration file (default: see `intertie config path`)");
  line.app.fallthrough();
  line.talk();
  line.look();
  line.keep();
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) { return line.app.exit(error) == 0 ? kOk : kUsage; }
  auto config = load(line.options);
  log::start(config ? config->log_level : "info");
  return line.chosen(line.options, config);
}

} // namespace

Result<config::Config> load(const Options& options) { return config::load_config(environment_of(options)); }

int complain(const Failure& failure) {
  fmt::print(stderr, "intertie: {}\n", failure.message);
  if (failure.code == "not_running") return kNotRunning;
  return failure.fault == Fault::OurPolicy ? kRefused : kFailed;
}

} // namespace intertie::bin

int main(int argc, char** argv) {
  try {
    return intertie::bin::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "intertie: %s\n", error.what());
    return intertie::bin::kFailed;
  }
}
