// Each fault is seeded into a folder of its own and must be found by its row; the same world without it must be fine.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include <gtest/gtest.h>

#include "bin/doctor.hpp"
#include "bin/models_hash.hpp"
#include "local/sha256.hpp"
#include "local/tiny_gguf.hpp"
#include "store/database.hpp"

namespace intertie::bin {
namespace {

namespace fs = std::filesystem;

class Doctor : public testing::Test {
 protected:
  Doctor() {
    std::string name = testing::TempDir() + "doctor-XXXXXX";
    root_ = ::mkdtemp(name.data());
    for (const char* folder : {"config", "data", "data/models", "state", "run"}) make_folder(root_ + "/" + folder);
    configure("");
  }
  ~Doctor() override {
    std::error_code error;
    fs::permissions(root_ + "/state", fs::perms::owner_all, error);
    fs::remove_all(root_, error);
  }

  static void make_folder(const std::string& path) {
    fs::create_directories(path);
    ::chmod(path.c_str(), 0700);
  }
  void write(const std::string& file, std::string_view text, mode_t mode = 0600) {
    std::ofstream(file, std::ios::binary) << text;
    ::chmod(file.c_str(), mode);
  }
  // A World that lies wholly in our folder.
  void configure(const std::string& toml, const std::map<std::string, std::string, std::less<>>& variables = {}) {
    config::Environment environment{variables};
    environment.variables["HOME"] = root_;
    config_ = config::parse_config(toml, "intertie.toml", environment);
    world_ = World{};
    world_.config = &config_;
    world_.paths = {.config_file = root_ + "/config/intertie.toml",
                    .data_dir = root_ + "/data",
                    .state_dir = root_ + "/state",
                    .runtime_dir = root_ + "/run",
                    .receipts_file = root_ + "/state/receipts.db",
                    .prices_file = {}};
    if (config_) {
      config_->paths = world_.paths;
      world_.settings = config_->local;
      world_.server = config_->server;
    }
    world_.settings.data_dir = world_.paths.data_dir;
    world_.settings.state_dir = world_.paths.state_dir;
    world_.settings.import_ollama = world_.settings.import_lmstudio = world_.settings.import_hf = false;
    world_.server.port = 0;
    world_.server.socket = root_ + "/run/intertie.sock";
    world_.now = SystemClock{}.wall();
    world_.built = world_.now - std::chrono::days{1};
    world_.cores = 4;
    world_.available_memory = 8'000'000'000;
    world_.cpuinfo = root_ + "/cpuinfo";
    world_.meminfo = root_ + "/meminfo";
    write(world_.cpuinfo, "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma\n");
    write(world_.meminfo, "MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n");
  }
  std::string add_model(const std::string& name) {
    auto file = root_ + "/data/models/" + name + ".gguf";
    auto written = local::write_tiny_gguf(file, {});
    EXPECT_TRUE(written) << written.error().message;
    return file;
  }
  void scan() {
    world_.models = local::Catalogue{}.scan(
        {.own = root_ + "/data/models", .extra = {}, .ollama = {}, .lmstudio = {}, .huggingface = {}});
  }
  std::string engine_that(const std::string& script) {
    auto file = root_ + "/llama-server";
    write(file, "#!/bin/sh\n" + script + "\n", 0700);
    world_.settings.engine = file;
    return file;
  }

  Verdict run(std::string_view id) {
    for (const auto& check : checks())
      if (check.id == id) return check.run(world_);
    ADD_FAILURE() << "no check " << id;
    return {};
  }
  void expect_found(std::string_view id, Level level, std::string_view words) {
    auto verdict = run(id);
    EXPECT_EQ(to_string(verdict.level), to_string(level)) << id << ": " << verdict.finding;
    EXPECT_NE((verdict.finding + " " + verdict.fix).find(words), std::string::npos)
        << id << ": " << verdict.finding << " → " << verdict.fix;
    EXPECT_FALSE(verdict.fix.empty()) << id;
    EXPECT_EQ(verdict.finding.find('\n'), std::string::npos) << verdict.finding;
    EXPECT_EQ(verdict.fix.find('\n'), std::string::npos) << verdict.fix;
  }
  void expect_ok(std::string_view id) {
    auto verdict = run(id);
    EXPECT_EQ(to_string(verdict.level), "ok") << id << ": " << verdict.finding;
    EXPECT_TRUE(verdict.fix.empty()) << id << ": " << verdict.fix;
  }

  std::string root_;
  Result<config::Config> config_ = internal("not set");
  World world_;
};

TEST_F(Doctor, TheTableHasDistinctNames) {
  std::set<std::string_view> ids;
  for (const auto& check : checks()) EXPECT_TRUE(ids.insert(check.id).second) << check.id;
  EXPECT_GE(ids.size(), 16U);
}

TEST_F(Doctor, EveryRowIsDocumented) {
  std::ifstream in(INTERTIE_SOURCE_DIR "/docs/doctor.md");
  std::string page{std::istreambuf_iterator<char>(in), {}};
  for (const auto& check : checks())
    EXPECT_NE(page.find("| `" + std::string(check.id) + "` |"), std::string::npos) << check.id;
}

TEST_F(Doctor, AHealthyMachineHasNoComplaint) {
  auto file = add_model("tiny");
  ASSERT_TRUE(record_hash(file, *local::sha256_file(file)));
  scan();
  for (const auto& check : checks())
    if (check.id != "engine" && check.id != "engine_version" && check.id != "disk") expect_ok(check.id);
}

TEST_F(Doctor, InvalidConfiguration) {
  expect_ok("config");
  configure("[server]\nlissten = \"127.0.0.1:1\"\n");
  ASSERT_FALSE(config_);
  expect_found("config", Level::Fail, "intertie.toml:2");
  for (const auto& check : checks()) (void)check.run(world_); // all others still run
}

TEST_F(Doctor, WrongPermissions) {
  ::chmod((root_ + "/state").c_str(), 0755);
  expect_found("permissions", Level::Fail, "chmod 700");
  ::chmod((root_ + "/state").c_str(), 0700);
  write(world_.paths.config_file, "", 0666);
  expect_found("permissions", Level::Fail, "chmod 600");
}

TEST_F(Doctor, AFolderThatIsAFile) {
  fs::remove_all(root_ + "/state");
  write(root_ + "/state", "x");
  expect_found("folders", Level::Fail, "is a file");
}

TEST_F(Doctor, AFolderThatCantBeWritten) {
  world_.paths.state_dir = "/proc/intertie"; // where not even root may make a file
  expect_found("folders", Level::Fail, "can't write");
}

TEST_F(Doctor, FullDisk) {
  EXPECT_EQ(judge_disk("/s", 1'000'000, 100'000'000'000).level, Level::Fail);
  EXPECT_EQ(judge_disk("/s", 300'000'000, 1'000'000'000).level, Level::Warn);
  EXPECT_EQ(judge_disk("/s", 2'000'000'000, 100'000'000'000).level, Level::Warn);   // 2 %
  EXPECT_EQ(judge_disk("/s", 100'000'000'000, 4'000'000'000'000).level, Level::Ok); // 2.5 %, but plenty
  EXPECT_EQ(judge_disk("/s", 60'000'000'000, 100'000'000'000).level, Level::Ok);
}

class Listening {
 public:
  Listening() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_, 1), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~Listening() { ::close(fd_); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
  std::uint16_t port() const { return port_; }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

TEST_F(Doctor, PortTaken) {
  std::uint16_t port = 0;
  {
    Listening other;
    port = world_.server.port = other.port();
    expect_found("port", Level::Fail, "taken by");
    auto owner = listening_on("/proc", port);
    ASSERT_TRUE(owner);
    EXPECT_EQ(owner->pid, ::getpid());
    EXPECT_FALSE(owner->program.empty());
    world_.daemon_answers = true; // our own daemon has it
    expect_ok("port");
  }
  EXPECT_FALSE(listening_on("/proc", port));
}

TEST_F(Doctor, StaleSocketFile) {
  expect_ok("socket");
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(world_.server.socket.size(), sizeof address.sun_path);
  std::ranges::copy(world_.server.socket, address.sun_path);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  expect_ok("socket");
  ::close(fd);
  expect_found("socket", Level::Warn, "left over");
  fs::remove(world_.server.socket);
  write(world_.server.socket, "");
  expect_found("socket", Level::Fail, "is no socket");
}

TEST_F(Doctor, NoAvx) {
  write(world_.cpuinfo, "flags\t\t: fpu sse2 avx\n");
  expect_found("cpu", Level::Warn, "AVX2");
  write(world_.cpuinfo, "flags\t\t: fpu sse2\n");
  expect_found("cpu", Level::Fail, "no AVX");
  write(world_.cpuinfo, "Features\t: fp asimd asimddp\n");
  expect_ok("cpu");
  world_.cpuinfo = root_ + "/nothing";
  expect_found("cpu", Level::Warn, "lscpu");
}

TEST_F(Doctor, TooLittleMemory) {
  world_.available_memory = 100'000'000;
  expect_found("memory", Level::Fail, "too little memory");
  world_.available_memory = 500'000'000;
  expect_found("memory", Level::Warn, "little memory");
}

TEST_F(Doctor, TooManyThreads) {
  world_.settings.threads = 9;
  expect_found("threads", Level::Warn, "9 threads");
  world_.settings.threads = 0;
  world_.cpu_quota = 1.0;
  expect_found("threads", Level::Warn, "cgroup");
  world_.cpu_quota = 0;
  local::ModelFlags flags;
  flags.arguments = {"-t", "64"};
  world_.settings.flags = {{"big", flags}};
  expect_found("threads", Level::Warn, "the model big");
}

TEST_F(Doctor, NoEngine) {
  world_.settings.engine.clear();
  world_.path_variable = root_;
  expect_found("engine", Level::Fail, "no engine found");
  world_.settings.engine = root_ + "/nowhere";
  expect_found("engine", Level::Fail, "nowhere");
}

TEST_F(Doctor, EngineMayNotBeExecuted) {
  auto file = engine_that("exit 0");
  ::chmod(file.c_str(), 0600);
  expect_found("engine", Level::Fail, "chmod +x");
}

TEST_F(Doctor, EngineThatDoesNotStart) {
  engine_that("echo 'libggml.so: cannot open shared object file'; exit 127");
  expect_found("engine_version", Level::Fail, "libggml.so");
  engine_that("kill -ILL $$");
  expect_found("engine_version", Level::Fail, "another processor");
}

TEST_F(Doctor, EngineTooOld) {
  engine_that(
      "if [ \"$1\" = --version ]; then echo 'version: 1 (old)'; else echo '-m, --model FNAME'; echo '--host HOST'; fi");
  expect_found("engine_version", Level::Fail, "too old");
}

TEST_F(Doctor, ProgramsAreStoppedAtTheirLimit) {
  auto file = engine_that("while :; do :; done");
  auto end = run_program(file, {"--version"}, milliseconds{50});
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->timed_out);
}

TEST_F(Doctor, NoModel) {
  scan();
  expect_found("models", Level::Fail, "intertie models");
}

TEST_F(Doctor, TruncatedAndForeignModelFiles) {
  auto file = add_model("cut");
  fs::resize_file(file, fs::file_size(file) / 2);
  scan();
  expect_found("model_files", Level::Fail, "cut");
  expect_found("models", Level::Fail, "nothing can answer");
  write(file, "<html>404 Not Found</html>, but long enough to hold a header");
  scan();
  expect_found("model_files", Level::Fail, "cut");
}

TEST_F(Doctor, ModelThatHasChanged) {
  auto file = add_model("tiny");
  ASSERT_TRUE(record_hash(file, *local::sha256_file(file)));
  scan();
  expect_ok("model_hashes");
  // One bit of a weight: the header is as before, and the engine would not notice.
  std::fstream weights(file, std::ios::in | std::ios::out | std::ios::binary);
  weights.seekg(-1, std::ios::end);
  char last = static_cast<char>(weights.get() ^ 1);
  weights.seekp(-1, std::ios::end);
  weights.put(last);
  weights.close();
  scan();
  expect_ok("model_files");
  expect_found("model_hashes", Level::Fail, "tiny has changed");
  write(hash_file_of(file), "not a hash");
  expect_found("model_hashes", Level::Warn, "no SHA-256");
}

TEST_F(Doctor, ModelThatDoesNotFit) {
  add_model("tiny");
  scan();
  world_.settings.memory_limit = 1'000'000;
  expect_found("model_memory", Level::Fail, "tiny needs");
}

TEST_F(Doctor, KeyMissing) {
  configure("[[provider]]\nname = \"openai\"\nmodels = [\"m\"]\n");
  ASSERT_TRUE(config_) << config_.error().message;
  expect_found("keys", Level::Fail, "OPENAI_API_KEY");
  configure("[[provider]]\nname = \"openai\"\nmodels = [\"m\"]\n", {{"OPENAI_API_KEY", "sk-test"}});
  expect_ok("keys");
}

TEST_F(Doctor, KeyFileReadableByOthers) {
  write(root_ + "/key", "sk-test", 0644);
  configure("[[provider]]\nname = \"openai\"\nkey = \"file:" + root_ + "/key\"\n");
  expect_found("key_files", Level::Fail, "chmod 600");
  ::chmod((root_ + "/key").c_str(), 0600);
  configure("[[provider]]\nname = \"openai\"\nkey = \"file:" + root_ + "/key\"\n");
  expect_ok("key_files");
  ::chmod((root_ + "/key").c_str(), 0644); // after it was read
  expect_found("key_files", Level::Fail, "may be read by others");
}

TEST_F(Doctor, KeyRefusedAndServerOutOfReach) {
  const std::string toml = "[policy]\npaid = true\n[[provider]]\nname = \"openai\"\nmodels = [\"m\"]\n";
  configure(toml, {{"OPENAI_API_KEY", "sk-test"}});
  ASSERT_TRUE(config_) << config_.error().message;
  world_.list_models = [](const provider::Provider&) {
    return Result<Answer>(Answer{401, R"({"error":{}})", "", "", "", ""});
  };
  expect_found("keys_accepted", Level::Fail, "openai refuses its key with 401");
  expect_ok("providers");
  world_.list_models = [](const provider::Provider&) -> Result<Answer> {
    return fail(FailureKind::Unavailable, Fault::Transient, "connection refused");
  };
  expect_found("providers", Level::Warn, "connection refused");
  expect_ok("keys_accepted");
}

TEST_F(Doctor, PaidPlacesThatAreOffAreLeftAlone) {
  configure("[[provider]]\nname = \"openai\"\nmodels = [\"m\"]\n", {{"OPENAI_API_KEY", "sk-test"}});
  int asked = 0;
  world_.list_models = [&asked](const provider::Provider&) {
    ++asked;
    return Result<Answer>(Answer{});
  };
  expect_ok("providers");
  EXPECT_EQ(asked, 0);
}

TEST_F(Doctor, DamagedReceipts) {
  expect_ok("receipts");
  write(world_.paths.receipts_file, "this is not a database, and long enough not to be taken for an empty one");
  expect_found("receipts", Level::Fail, "mv ");
}

TEST_F(Doctor, ClockBehind) {
  world_.now = world_.built - std::chrono::days{400};
  expect_found("clock", Level::Fail, "built on");
  world_.now = world_.built + std::chrono::days{1};
  expect_ok("clock");
  auto database = store::Database::open(world_.paths.receipts_file, store::Mode::ReadWrite);
  ASSERT_TRUE(database) << database.error().message;
  ASSERT_TRUE(database->execute("CREATE TABLE receipts (id INTEGER PRIMARY KEY)"));
  auto insert = database->prepare("INSERT INTO receipts VALUES (?1)");
  ASSERT_TRUE(insert);
  insert->bind(1, static_cast<std::int64_t>(make_call_id(world_.now + std::chrono::days{40}).value));
  ASSERT_TRUE(insert->run());
  expect_found("clock", Level::Fail, "newest receipt");
}

} // namespace
} // namespace intertie::bin
