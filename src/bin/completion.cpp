#include "bin/completion.hpp"

#include <vector>

#include <fmt/format.h>

#include "bin/verbs.hpp"
#include "config/edit.hpp"

namespace intertie::bin {
namespace {

constexpr OptionWords kJson{"--json", "machine-readable output"};
constexpr std::array kGlobal{
    OptionWords{"--config", "configuration file", Wants::File},
    OptionWords{"--help", "what it does and how it is used"},
    OptionWords{"--version", "print the version"},
};
constexpr std::array kVerbs{
    VerbWords{"serve",
              "run the daemon",
              Wants::Nothing,
              {{{"--listen", "address:port", Wants::Text},
                {"--engine", "path of llama-server, or none", Wants::File},
                {"--io-threads", "threads for connections", Wants::Text}}}},
    VerbWords{"ask",
              "ask a question",
              Wants::Text,
              {{{"--stream", "print the answer as it comes"},
                {"--model", "auto, auto:private, provider/model …", Wants::Model},
                {"--system", "a system message", Wants::Text},
                {"--max-tokens", "most tokens of the answer", Wants::Text},
                {"--why", "say where it ran and why"},
                kJson}}},
    VerbWords{"explain", "where an answer came from, and why", Wants::Receipt, {{kJson}}},
    VerbWords{"receipts",
              "what ran where, and what it cost",
              Wants::Nothing,
              {{{"--follow", "go on printing new ones"}, {"--limit", "how many", Wants::Text}, kJson}}},
    VerbWords{"status", "what the running daemon is doing", Wants::Nothing, {{kJson}}},
    VerbWords{"doctor", "find what is wrong, and how to mend it", Wants::Nothing, {{kJson}}},
    VerbWords{"version", "print the version"},
    VerbWords{"completion", "print a shell completion script", Wants::Shell},
    VerbWords{"models", "the local models"},
    VerbWords{"models list", "what can run here, its size and speed", Wants::Nothing, {{kJson}}},
    VerbWords{"models show", "one model: size, memory, speed", Wants::LocalModel, {{kJson}}},
    VerbWords{
        "models add", "use a GGUF file where it lies", Wants::File, {{{"--name", "its name", Wants::Text}, kJson}}},
    VerbWords{"models pull",
              "download a GGUF by URL",
              Wants::Text,
              {{{"--sha256", "its hash, 64 hex digits", Wants::Text}, {"--name", "its name", Wants::Text}, kJson}}},
    VerbWords{"models rm", "forget a model", Wants::LocalModel, {{kJson}}},
    VerbWords{"providers", "the servers an Ask may go to"},
    VerbWords{"providers list", "configured providers, and the kinds there are", Wants::Nothing, {{kJson}}},
    VerbWords{"providers test", "reach a provider and say what it answers", Wants::Provider, {{kJson}}},
    VerbWords{"check", "what private data a text holds", Wants::File, {{kJson}}},
    VerbWords{"config", "the configuration"},
    VerbWords{"config show", "the configuration in force", Wants::Nothing, {{kJson}}},
    VerbWords{"config path", "where it is read from", Wants::Nothing, {{kJson}}},
    VerbWords{"set", "change one key of the configuration", Wants::Key, {{{"--unset", "take the key out"}, kJson}}},
    VerbWords{"config init", "write a commented sample", Wants::Nothing, {{{"--force", "over an existing file"}}}},
};

// One word per line each, for every shell; silent when there is nothing to say.
constexpr std::string_view kListModels = "intertie models list 2>/dev/null | awk 'NR > 1 {print $1}'";
constexpr std::string_view kListProviders =
    "intertie providers list 2>/dev/null | awk 'NF == 0 {exit} NR > 1 {print $1}'";
constexpr std::string_view kListReceipts = "intertie receipts --limit 20 2>/dev/null | awk 'NR > 1 {print $1}'";
constexpr std::string_view kWishes = "auto auto:private auto:fast auto:cheap auto:best";

// The shell command that prints the words that may stand there; empty when the shell should not offer any.
std::string words_command(Wants wants) {
  switch (wants) {
    case Wants::LocalModel: return std::string(kListModels);
    case Wants::Provider: return std::string(kListProviders);
    case Wants::Receipt: return fmt::format("echo last; {}", kListReceipts);
    case Wants::Model: return fmt::format("printf '%s\\n' {}; {}", kWishes, kListModels);
    case Wants::Key: return fmt::format("printf '%s\\n' {}", fmt::join(config::settable_keys(), " "));
    case Wants::Shell: return "printf '%s\\n' bash zsh fish";
    case Wants::Nothing:
    case Wants::Text:
    case Wants::File:
    case Wants::Folder: break;
  }
  return {};
}

std::string_view parent_of(std::string_view path) {
  auto space = path.find(' ');
  return space == std::string_view::npos ? std::string_view{} : path.substr(0, space);
}
std::string_view last_word(std::string_view path) { return path.substr(path.find(' ') + 1); }

std::vector<const VerbWords*> children(std::string_view parent) {
  std::vector<const VerbWords*> out;
  for (const auto& verb : kVerbs)
    if (parent_of(verb.path) == parent) out.push_back(&verb);
  return out;
}
std::vector<OptionWords> options_of(const VerbWords& verb) {
  std::vector<OptionWords> out;
  for (const auto& option : verb.options)
    if (!option.name.empty()) out.push_back(option);
  for (const auto& option : kGlobal) out.push_back(option);
  return out;
}
std::string joined(std::string_view parent) {
  std::string out;
  for (const auto* verb : children(parent)) out += (out.empty() ? "" : " ") + std::string(last_word(verb->path));
  return out;
}

// ---- bash
// ------------------------------------------------------------------------------------------------------------

// The bash statement that fills COMPREPLY for what is wanted.
std::string bash_reply(Wants wants) {
  if (wants == Wants::File) return "COMPREPLY=($(compgen -f -- \"$current\")); compopt -o filenames 2>/dev/null";
  auto command = words_command(wants);
  if (command.empty()) return "COMPREPLY=()";
  return fmt::format("COMPREPLY=($(compgen -W \"$({})\" -- \"$current\"))", command);
}

// ---- zsh
// -------------------------------------------------------------------------------------------------------------

std::string zsh_quoted(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\'') out += "'\\''";
    else if (c == '[' || c == ']' || c == ':') {
      out += '\\';
      out += c;
    } else out += c;
  }
  return out;
}
std::string zsh_action(Wants wants) {
  if (wants == Wants::File) return "_files";
  auto command = words_command(wants);
  return command.empty() ? std::string{" "} : fmt::format("{{compadd -- ${{(f)\"$({})\"}}}}", command);
}
std::string zsh_quote_action(Wants wants) {
  std::string out;
  for (char c : zsh_action(wants)) {
    if (c == '\'') out += "'\\''";
    else out += c;
  }
  return out;
}

} // namespace

std::span<const VerbWords> verb_words() { return kVerbs; }
std::span<const OptionWords> global_options() { return kGlobal; }

std::string bash_completion() {
  std::string out = "# bash completion for intertie; made by `intertie completion bash`\n_intertie() {\n";
  out += fmt::format("  local verbs=\"{}\"\n", joined(""));
  out +=
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verb= word i skip=\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=${COMP_WORDS[i]}\n"
      "    if [[ -n $skip ]]; then skip=; continue; fi\n"
      "    case $word in\n      --config) skip=1 ;;\n      -*) ;;\n"
      "      *) if [[ -z $verb ]]; then verb=$word\n"
      "         else case $verb in models | providers | config) verb=\"$verb $word\" ;; esac; fi ;;\n"
      "    esac\n  done\n  case \"$verb:$previous\" in\n";
  for (const auto& verb : kVerbs)
    for (const auto& option : options_of(verb))
      if (option.wants != Wants::Nothing)
        out += fmt::format("    '{}:{}') {}; return ;;\n", verb.path, option.name, bash_reply(option.wants));
  out += fmt::format("    ':--config') {}; return ;;\n  esac\n  case $verb in\n", bash_reply(Wants::File));
  auto words = [](std::string_view list) {
    return fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$current\"))", list);
  };
  std::string globals;
  for (const auto& option : kGlobal) globals += fmt::format(" {}", option.name);
  out += fmt::format("    '') COMPREPLY=($(compgen -W \"$verbs{}\" -- \"$current\")) ;;\n", globals);
  for (const auto& verb : kVerbs) {
    if (!children(verb.path).empty()) {
      out += fmt::format("    '{}') {} ;;\n", verb.path, words(joined(verb.path)));
      continue;
    }
    std::string options;
    for (const auto& option : options_of(verb)) options += (options.empty() ? "" : " ") + std::string(option.name);
    out += fmt::format("    '{}') if [[ $current == -* ]]; then {}\n      else {}; fi ;;\n", verb.path, words(options),
                       bash_reply(verb.argument));
  }
  return out + "  esac\n}\ncomplete -F _intertie intertie\n";
}

std::string zsh_completion() {
  std::string out = "#compdef intertie\n# zsh completion for intertie; made by `intertie completion zsh`\n";
  auto describe_children = [&out](std::string_view parent, std::string_view function) {
    out += fmt::format("{}() {{\n  local -a verbs=(\n", function);
    for (const auto* verb : children(parent))
      out += fmt::format("    '{}:{}'\n", last_word(verb->path), zsh_quoted(verb->what));
    out += "  )\n  _describe verb verbs\n}\n";
  };
  describe_children("", "_intertie_verbs");
  std::string cases;
  for (const auto& verb : kVerbs) {
    if (!children(verb.path).empty()) {
      auto function = fmt::format("_intertie_{}", verb.path);
      describe_children(verb.path, function);
      cases += fmt::format("    '{}') {} ;;\n", verb.path, function);
      continue;
    }
    cases += fmt::format("    '{}') _arguments", verb.path);
    for (const auto& option : options_of(verb)) {
      cases += fmt::format(" \\\n      '{}[{}]", option.name, zsh_quoted(option.what));
      if (option.wants != Wants::Nothing) cases += fmt::format(":value:{}", zsh_quote_action(option.wants));
      cases += '\'';
    }
    if (verb.argument != Wants::Nothing)
      cases += fmt::format(" \\\n      '1:argument:{}'", zsh_quote_action(verb.argument));
    cases += " ;;\n";
  }
  out +=
      "_intertie() {\n  local verb=\n  if [[ $words[2] == --config ]]; then shift 2 words; (( CURRENT -= 2 )); fi\n"
      "  if (( CURRENT <= 2 )); then _intertie_verbs; return; fi\n"
      "  verb=$words[2]; shift words; (( CURRENT-- ))\n"
      "  case $verb in models|providers|config)\n"
      "    if (( CURRENT > 2 )); then verb=\"$verb $words[2]\"; shift words; (( CURRENT-- )); fi ;;\n  esac\n"
      "  case $verb in\n";
  return out + cases +
         "  esac\n}\nif [[ $funcstack[1] == _intertie ]]; then _intertie \"$@\"; else compdef _intertie intertie; fi\n";
}

std::string fish_completion() {
  std::string out = "# fish completion for intertie; made by `intertie completion fish`\ncomplete -c intertie -f\n";
  auto quoted = [](std::string_view text) {
    std::string q = "'";
    for (char c : text) {
      if (c == '\'' || c == '\\') q += '\\';
      q += c;
    }
    return q + "'";
  };
  auto offer = [&](Wants wants) {
    if (wants == Wants::File) return std::string(" -r -F");
    auto command = words_command(wants);
    return command.empty() ? std::string{" -x"} : fmt::format(" -x -a {}", quoted("(" + command + ")"));
  };
  for (const auto& option : kGlobal)
    out += fmt::format("complete -c intertie -l {} -d {}{}\n", option.name.substr(2), quoted(option.what),
                       option.wants == Wants::Nothing ? "" : offer(option.wants));
  for (const auto& verb : kVerbs) {
    auto parent = parent_of(verb.path);
    std::string when = "__fish_use_subcommand";
    if (!parent.empty())
      when =
          fmt::format("__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from {}", parent, joined(parent));
    out +=
        fmt::format("complete -c intertie -n {} -a {} -d {}\n", quoted(when), last_word(verb.path), quoted(verb.what));
    auto inside = parent.empty() ? fmt::format("__fish_seen_subcommand_from {}", verb.path)
                                 : fmt::format("__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}",
                                               parent, last_word(verb.path));
    for (const auto& option : verb.options)
      if (!option.name.empty())
        out += fmt::format("complete -c intertie -n {} -l {} -d {}{}\n", quoted(inside), option.name.substr(2),
                           quoted(option.what), option.wants == Wants::Nothing ? "" : offer(option.wants));
    if (verb.argument != Wants::Nothing && verb.argument != Wants::Text)
      out += fmt::format("complete -c intertie -n {}{}\n", quoted(inside),
                         verb.argument == Wants::File ? std::string(" -F") : offer(verb.argument));
  }
  return out;
}

int completion(const Options& options) {
  if (options.shell == "bash") fmt::print("{}", bash_completion());
  else if (options.shell == "zsh") fmt::print("{}", zsh_completion());
  else if (options.shell == "fish") fmt::print("{}", fish_completion());
  else {
    fmt::print(stderr, "intertie: bash, zsh or fish; for example: source <(intertie completion bash)\n");
    return kUsage;
  }
  return kOk;
}

} // namespace intertie::bin
