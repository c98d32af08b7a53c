#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

#include "config/config.hpp"

namespace intertie::config {
namespace {
namespace fs = std::filesystem;

Environment home(std::map<std::string, std::string, std::less<>> more = {}) {
  more.emplace("HOME", "/home/ada");
  return {std::move(more)};
}
Config parsed(std::string_view toml, const Environment& environment = home()) {
  auto config = parse_config(toml, "x.toml", environment);
  EXPECT_TRUE(config.has_value()) << (config ? "" : config.error().message);
  return config ? *std::move(config) : Config{};
}
std::string mistake(std::string_view toml, const Environment& environment = home()) {
  auto config = parse_config(toml, "x.toml", environment);
  return config ? "no mistake found" : config.error().message;
}

TEST(Config, DefaultsAreTheDocumentedOnes) {
  auto c = parsed("");
  EXPECT_EQ(c.server.address, "127.0.0.1");
  EXPECT_EQ(c.server.port, 4683);
  EXPECT_EQ(c.server.io_threads, 1);
  EXPECT_EQ(c.server.request_timeout, milliseconds{600'000});
  EXPECT_EQ(c.server.keepalive_after, milliseconds{15'000});
  EXPECT_EQ(c.server.max_body, 64'000'000U);
  EXPECT_EQ(c.server.max_body_time, milliseconds{300'000});
  EXPECT_EQ(c.server.max_connections, 20'000U);
  EXPECT_EQ(c.log_level, "info");
  EXPECT_FALSE(c.policy.paid);
  EXPECT_EQ(c.policy.furthest, Place::Cloud);
  EXPECT_EQ(c.policy.small_tokens, 2000U);
  EXPECT_EQ(c.policy.digest().size(), 16U);
  EXPECT_EQ(c.local.keep_alive, seconds{600});
  EXPECT_EQ(c.local.queue_length, 64U);
  EXPECT_TRUE(c.local.import_ollama);
  EXPECT_TRUE(c.providers.empty()) << "nothing outside is ever on by itself";
  EXPECT_EQ(c.paths.config_file, "/home/ada/.config/intertie/intertie.toml");
  EXPECT_EQ(c.paths.receipts_file, "/home/ada/.local/state/intertie/receipts.db");
  EXPECT_EQ(c.local.data_dir, "/home/ada/.local/share/intertie");
  EXPECT_EQ(c.local.state_dir, "/home/ada/.local/state/intertie");
}

TEST(Config, AKeyInTheEnvironmentTurnsNothingOn) {
  EXPECT_TRUE(parsed("", home({{"OPENAI_API_KEY", "sk-x"}, {"GROQ_API_KEY", "gsk"}})).providers.empty());
}

TEST(Config, PathsFollowXdg) {
  auto c = parsed("", home({{"XDG_CONFIG_HOME", "/c"},
                            {"XDG_DATA_HOME", "/d"},
                            {"XDG_STATE_HOME", "/s"},
                            {"XDG_RUNTIME_DIR", "/run/user/7"}}));
  EXPECT_EQ(c.paths.config_file, "/c/intertie/intertie.toml");
  EXPECT_EQ(c.paths.data_dir, "/d/intertie");
  EXPECT_EQ(c.paths.state_dir, "/s/intertie");
  EXPECT_EQ(c.server.socket, "/run/user/7/intertie/intertie.sock");
  EXPECT_EQ(c.paths.prices_file, "/c/intertie/prices.toml");
  auto relative = parsed("", home({{"XDG_STATE_HOME", "here"}}));
  EXPECT_EQ(relative.paths.state_dir, "/home/ada/.local/state/intertie") << "XDG: a relative path is ignored";
  EXPECT_EQ(find_paths(Environment{}).error().code, "no_home");
}

TEST(Config, ReadsEverySection) {
  auto c = parsed(R"(
[server]
listen = "[::1]:4700"
socket = "none"
io_threads = 4
request_timeout = "1h30m"
keepalive_after = "500ms"
max_body = "1 MB"
max_body_time = "1500ms"
[log]
level = "debug"
[policy]
paid = true
furthest = "edge"
small_tokens = 500
high_end_quality = 90
prefer = ["office", "local"]
[policy.matrix]
C2 = ["local-only", "allow", "allow", "block", "block"]
unknown = "C4"
[local]
engine = "~/bin/llama-server"
data_dir = "/models"
memory_limit = "6GiB"
disk_limit = "50 GB"
keep_alive = "never"
stores = ["~/gguf", "/srv/gguf"]
import_hf = false
[local.model."smollm2:135m"]
context = 4096
slots = 2
pinned = true
keep_alive = "0s"
arguments = ["--no-mmap"]
[[provider]]
name = "office"
kind = "vllm"
base_url = "http://10.0.0.5:8000/v1"
connect_timeout = "2s"
models = ["qwen", "llama"]
[[model]]
name = "fast"
provider = "office"
model = "qwen"
context = 32768
caps = ["tools", "json_schema"]
input_price = 0.15
output_price = 0.6
quality = 60
)");
  EXPECT_EQ(c.server.address, "::1");
  EXPECT_EQ(c.server.port, 4700);
  EXPECT_EQ(c.server.socket, "");
  EXPECT_EQ(c.server.request_timeout, milliseconds{5'400'000});
  EXPECT_EQ(c.server.max_body_time, milliseconds{1500});
  EXPECT_EQ(c.policy.furthest, Place::Edge);
  EXPECT_EQ(c.policy.prefer, (std::vector<std::string>{"office", "local"}));
  EXPECT_EQ(c.policy.matrix.at(DataClass::C2, Trust::T0), Action::Allow) << "staying here is allowed here";
  EXPECT_EQ(c.policy.matrix.at(DataClass::C2, Trust::T3), Action::Block);
  EXPECT_EQ(c.policy.matrix.unknown, DataClass::C4);
  EXPECT_EQ(c.local.engine, "/home/ada/bin/llama-server");
  EXPECT_EQ(c.local.data_dir, "/models");
  EXPECT_EQ(c.paths.data_dir, "/models");
  EXPECT_EQ(c.local.memory_limit, 6ULL << 30);
  EXPECT_EQ(c.local.disk_limit, 50'000'000'000U);
  EXPECT_LT(c.local.keep_alive, seconds{0});
  EXPECT_EQ(c.local.store_dirs.at(0), "/home/ada/gguf");
  ASSERT_EQ(c.local.flags.size(), 1U);
  EXPECT_EQ(c.local.flags[0].first, "smollm2:135m");
  EXPECT_EQ(c.local.flags[0].second.keep_alive, seconds{0});
  EXPECT_TRUE(c.local.flags[0].second.pinned);
  ASSERT_EQ(c.providers.size(), 1U);
  const auto& p = c.providers[0];
  EXPECT_EQ(p.place, Place::Edge);
  EXPECT_EQ(p.trust, Trust::T1);
  EXPECT_FALSE(p.paid);
  EXPECT_EQ(p.auth, provider::Auth::None) << "no key was given and none is wanted";
  EXPECT_EQ(p.timeouts.connect, milliseconds{2000});
  ASSERT_EQ(p.models.size(), 2U);
  EXPECT_EQ(p.models[0].name, "qwen");
  EXPECT_EQ(p.models[0].alias, "fast");
  EXPECT_EQ(p.models[0].price->input, 150'000);
  EXPECT_EQ(p.models[0].price->cached_input, 150'000);
  EXPECT_EQ(p.models[0].price->output, 600'000);
  EXPECT_EQ(p.models[0].caps, Cap::Tools | Cap::ForcedTools | Cap::JsonSchema);
  EXPECT_EQ(p.models[1].caps_known, false);
}

TEST(Config, TheOrderOfTablesDoesNotMatter) {
  auto c = parsed("[[model]]\nname=\"a\"\nprovider=\"openai\"\n[[provider]]\nname=\"openai\"\n");
  EXPECT_EQ(c.providers.at(0).models.at(0).name, "a");
}

TEST(Config, TheEnvironmentGoesOverTheFile) {
  auto c =
      parsed("[server]\nlisten=\"127.0.0.1:1\"\n[policy]\npaid=true\n", home({{"INTERTIE_SERVER_LISTEN", "127.0.0.2:9"},
                                                                              {"INTERTIE_POLICY_PAID", "false"},
                                                                              {"INTERTIE_LOCAL_ENGINE", "none"},
                                                                              {"INTERTIE_LOCAL_STORES", "/a, /b"},
                                                                              {"INTERTIE_LOCAL_QUEUE", "5"},
                                                                              {"INTERTIE_LOCAL_MEMORY_LIMIT", "1 GB"},
                                                                              {"INTERTIE_ACCEPT", "1"}}));
  EXPECT_EQ(c.server.address, "127.0.0.2");
  EXPECT_EQ(c.server.port, 9);
  EXPECT_FALSE(c.policy.paid);
  EXPECT_EQ(c.local.engine, "none");
  EXPECT_EQ(c.local.store_dirs, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(c.local.queue_length, 5U);
  EXPECT_EQ(c.local.memory_limit, 1'000'000'000U);
}

TEST(Config, ProvidersTakeTheirRowAndTheirKey) {
  auto c = parsed(
      "[[provider]]\nname=\"openai\"\n[[provider]]\nname=\"mine\"\nkind=\"groq\"\nkey=\"env:MINE\"\n"
      "[[provider]]\nname=\"lmstudio\"\n",
      home({{"OPENAI_API_KEY", "sk-secret"}}));
  ASSERT_EQ(c.providers.size(), 3U);
  EXPECT_EQ(c.providers[0].key.reveal(), "sk-secret");
  EXPECT_EQ(c.providers[0].key_source, "environment OPENAI_API_KEY");
  EXPECT_EQ(c.providers[0].place, Place::Cloud);
  EXPECT_EQ(c.providers[0].trust, Trust::T4);
  EXPECT_TRUE(c.providers[0].paid);
  EXPECT_TRUE(c.providers[1].key.empty());
  EXPECT_EQ(c.providers[1].key_source, "environment MINE (not set)");
  EXPECT_EQ(c.providers[1].spec->name, "groq");
  EXPECT_EQ(c.providers[2].place, Place::Device);
  EXPECT_EQ(c.providers[2].trust, Trust::T0);
  EXPECT_EQ(c.providers[2].timeouts.connect, milliseconds{200});
}

TEST(Config, APlaceIsNeverNearerThanTheFacts) {
  auto place = [](std::string_view more) {
    auto c = parsed(std::string("[[provider]]\nname=\"x\"\n") + std::string(more));
    return c.providers.empty()
               ? std::string()
               : std::string(to_string(c.providers[0].place)) + " " + std::string(to_string(c.providers[0].trust)) +
                     (c.providers[0].paid ? " paid" : "");
  };
  EXPECT_EQ(place("kind=\"ollama\""), "device T0");
  EXPECT_EQ(place("kind=\"ollama\"\nbase_url=\"http://192.168.1.9:11434/v1\""), "edge T1") << "another machine";
  EXPECT_EQ(place("kind=\"vllm\""), "edge T1");
  EXPECT_EQ(place("kind=\"vllm\"\nplace=\"device\""), "device T0");
  EXPECT_EQ(place("kind=\"openai-compatible\"\nbase_url=\"http://127.0.0.1:9/v1\""), "cloud T4 paid")
      << "may be a proxy";
  EXPECT_EQ(place("kind=\"openai-compatible\"\nbase_url=\"http://127.0.0.1:9/v1\"\nplace=\"device\""), "device T0");
  EXPECT_EQ(place("kind=\"openai-compatible\"\nbase_url=\"unix:/run/x.sock\"\nplace=\"device\""), "device T0");
  EXPECT_EQ(place("kind=\"openai-compatible\"\nbase_url=\"https://h/v1\"\nplace=\"edge\""), "edge T1");
  EXPECT_EQ(place("kind=\"openai-compatible\"\nbase_url=\"https://h/v1\"\nplace=\"edge\"\ntrust=\"T3\""), "edge T3");
  EXPECT_EQ(place("kind=\"openai\"\ntrust=\"T3\""), "cloud T3 paid");
  EXPECT_EQ(place("kind=\"ollama\"\nplace=\"cloud\""), "cloud T4");
}

TEST(Config, KeysComeFromPrivateFilesAndCredentials) {
  std::string name = (fs::temp_directory_path() / "intertie-key-XXXXXX").string();
  fs::path folder = ::mkdtemp(name.data());
  std::ofstream(folder / "key") << "sk-from-file\n";
  ::chmod((folder / "key").c_str(), 0600);
  auto toml = "[[provider]]\nname=\"openai\"\nkey=\"file:" + (folder / "key").string() + "\"\n";
  EXPECT_EQ(parsed(toml).providers.at(0).key.reveal(), "sk-from-file");
  ::chmod((folder / "key").c_str(), 0640);
  EXPECT_NE(mistake(toml).find("which others may read: chmod 600"), std::string::npos) << mistake(toml);
  auto credential = "[[provider]]\nname=\"openai\"\nkey=\"credential:key\"\n";
  EXPECT_EQ(parsed(credential, home({{"CREDENTIALS_DIRECTORY", folder.string()}})).providers.at(0).key.reveal(),
            "sk-from-file");
  std::ofstream(folder / "key") << "two words\nand lines";
  EXPECT_NE(mistake(credential, home({{"CREDENTIALS_DIRECTORY", folder.string()}})).find("more than a key"),
            std::string::npos);
  std::ofstream(folder / "key") << "";
  EXPECT_NE(mistake(credential, home({{"CREDENTIALS_DIRECTORY", folder.string()}})).find("is empty"),
            std::string::npos);
  fs::remove_all(folder);
}

TEST(Config, NoKeyIsEverShownOrRepeated) {
  auto c = parsed("[[provider]]\nname=\"openai\"\n", home({{"OPENAI_API_KEY", "sk-secret"}}));
  EXPECT_EQ(show_config(c).find("sk-secret"), std::string::npos);
  EXPECT_NE(show_config(c).find("key = \"env:OPENAI_API_KEY\""), std::string::npos);
  auto literal = mistake("[[provider]]\nname=\"openai\"\nkey=\"sk-secret\"\n");
  EXPECT_EQ(literal.find("sk-secret"), std::string::npos);
  EXPECT_NE(literal.find("env:NAME"), std::string::npos);
}

TEST(Config, WhatIsShownReadsBackTheSame) {
  for (std::string_view toml :
       {"",
        "[server]\nlisten=\"[::1]:1\"\nsocket=\"none\"\n[local]\nmemory_limit=\"2 GB\"\nkeep_alive=\"never\"\n"
        "[local.model.\"a \\\"b\\\"\"]\ncontext=9\n[[provider]]\nname=\"o\"\nkind=\"azure\"\n"
        "base_url=\"https://x.openai.azure.com\"\nkey=\"env:A\"\nmodels=[\"m\"]\n[[provider]]\nname=\"u\"\n"
        "kind=\"llama-server\"\nbase_url=\"unix:/run/l.sock:/v1\"\n[[model]]\nname=\"n\"\nprovider=\"u\"\n"
        "caps=[]\ninput_price=0.1\noutput_price=0.25\n"}) {
    auto first = show_config(parsed(toml));
    EXPECT_EQ(show_config(parsed(first)), first);
  }
}

TEST(Config, TheSampleReadsAsItIsAndWithEveryLineTurnedOn) {
  auto plain = show_config(parsed(""));
  EXPECT_EQ(show_config(parsed(default_config_text())), plain);
  std::string on;
  std::istringstream lines{std::string(default_config_text())};
  for (std::string line; std::getline(lines, line);) {
    auto end = line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", 2);
    bool key = line.starts_with("# ") && end != std::string::npos && end > 2 && line.substr(end).starts_with(" = ");
    on += (key || line.starts_with("# [[") ? line.substr(2) : line) + "\n";
  }
  auto config = parsed(on);
  EXPECT_EQ(config.providers.size(), 2U);
  EXPECT_EQ(config.policy.digest(), parsed("").policy.digest()) << "the sample shows the defaults";
}

TEST(Config, ThePolicyTextIsTheDefaultPolicy) {
  EXPECT_EQ(parsed(route::default_policy_text()).policy.digest(), parsed("").policy.digest());
  EXPECT_NE(parsed("[policy]\npaid=true\n").policy.digest(), parsed("").policy.digest());
}

TEST(Config, DepthIsBounded) {
  auto many = [](std::string_view piece, int times) {
    std::string out;
    while (times-- > 0) out += piece;
    return out;
  };
  EXPECT_EQ(mistake("[log]\n" + many("a.", 200'000) + "a = 1\n"), "x.toml:2:1: more than 100 dots on one line");
  EXPECT_NE(mistake("a = " + many("[", 200'000)).find("nest"), std::string::npos);
  EXPECT_NE(mistake("a = " + many("{a=", 200'000)).find("x.toml:1:"), std::string::npos);
  EXPECT_EQ(mistake("[[provider]]\nname=\"openai\"\nmodels=[\"" + many(".[", 300) + "\"]\n"), "no mistake found");
  EXPECT_EQ(mistake(many("#", (1 << 20) + 1)), "x.toml:1:1: the file is larger than 1 MB: is it the right one?");
}

TEST(Config, LoadsTheFileAndSaysWhenItCan) {
  std::string name = (fs::temp_directory_path() / "intertie-config-XXXXXX").string();
  fs::path folder = ::mkdtemp(name.data());
  auto environment = Environment{{{"HOME", folder.string()}}};
  EXPECT_TRUE(load_config(environment).has_value()) << "no file is fine";
  auto file = (folder / "c.toml").string();
  environment.variables["INTERTIE_CONFIG"] = file;
  EXPECT_EQ(load_config(environment).error().code, "no_config") << "a named one must be there";
  std::ofstream(file) << "[server]\nlisten = \"127.0.0.1:5000\"\n";
  EXPECT_EQ(load_config(environment)->server.port, 5000);
  std::ofstream(file) << "[serber]\n";
  EXPECT_EQ(load_config(environment).error().message, file + ":1:2: unknown key serber: did you mean \"server\"?");
  fs::remove_all(folder);
}

TEST(Duration, ReadsAndRenders) {
  EXPECT_EQ(parse_duration("500ms"), milliseconds{500});
  EXPECT_EQ(parse_duration("3s"), milliseconds{3000});
  EXPECT_EQ(parse_duration("1h30m"), milliseconds{5'400'000});
  EXPECT_EQ(parse_duration(" 0s "), milliseconds{0});
  for (std::string_view bad :
       {"", "5", "s", "-1s", "1 s", "1m1m", "1s1h", "1d", "99999999999999999999s", "9999999999h", "1.5s"})
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
  for (std::string_view text : {"500ms", "3s", "90s", "10m", "1h", "0s"})
    EXPECT_EQ(render_duration(*parse_duration(text)), text);
}

// Every key of the contract is documented, with its default.
TEST(Docs, NameEveryKey) {
  std::ifstream in(std::string(INTERTIE_SOURCE_DIR) + "/docs/config.md");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  for (std::string_view key : {"listen",
                               "socket",
                               "io_threads",
                               "request_timeout",
                               "keepalive_after",
                               "max_body",
                               "max_body_time",
                               "max_connections",
                               "level",
                               "paid",
                               "furthest",
                               "small_tokens",
                               "high_end_quality",
                               "prefer",
                               "unknown",
                               "engine",
                               "data_dir",
                               "memory_limit",
                               "disk_limit",
                               "keep_alive",
                               "threads",
                               "dedicated",
                               "queue",
                               "import_ollama",
                               "import_lmstudio",
                               "import_hf",
                               "stores",
                               "context",
                               "slots",
                               "pinned",
                               "arguments",
                               "name",
                               "kind",
                               "base_url",
                               "key",
                               "place",
                               "trust",
                               "api_version",
                               "ca_file",
                               "proxy",
                               "connect_timeout",
                               "first_byte_timeout",
                               "idle_timeout",
                               "models",
                               "provider",
                               "model",
                               "caps",
                               "input_price",
                               "output_price",
                               "cached_input_price",
                               "quality"})
    EXPECT_NE(text.find("| `" + std::string(key) + "`"), std::string::npos) << key;
}
} // namespace
} // namespace intertie::config
