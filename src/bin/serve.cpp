// intertie serve: the daemon. Reads as a composition list: harden, ledger, engines, state, workers, then wait for signals
// and changed configuration, then everything in reverse.
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include <fmt/format.h>

#include "bin/systemd.hpp"
#include "bin/verbs.hpp"
#include "core/log.hpp"
#include "gateway/gateway.hpp"
#include "net/server.hpp"

namespace intertie::bin {
namespace {

constexpr milliseconds kGrace{10'000};

// No core dumps, no ptrace by others, no SIGPIPE: keys live in this process.
void harden() {
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  ::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

Result<> make_private_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error || ::chmod(path.c_str(), 0700) != 0)
    return fail(FailureKind::Unavailable, Fault::Ours,
                fmt::format("can't use the folder {}: {}; make it yours: mkdir -p {} && chmod 700 {}", path,
                            error ? error.message() : std::strerror(errno), path, path));
  return {};
}

// One io thread: its Worker, its gateway, its listeners. Members in construction order.
struct IoThread {
  IoThread(gateway::State& state, const net::ServerLimits& limits)
      : worker(state.clock()),
        gateway(state, worker),
        server(worker, limits, [this](net::Exchange& exchange) { return gateway.handle(exchange); }) {}
  net::Worker worker;
  gateway::Gateway gateway;
  net::Server server;
  std::thread thread;
};
using IoThreads = std::vector<std::unique_ptr<IoThread>>;

net::ServerLimits limits_of(const config::Config& config) {
  net::ServerLimits limits;
  limits.body_bytes = config.server.max_body;
  limits.body_deadline = config.server.max_body_time;
  limits.connections = config.server.max_connections;
  return limits;
}

// Where we listen, as a person would write it. What systemd hands over takes the place of [server] listen.
Result<std::vector<std::string>> listen(IoThreads& threads, const config::Config& config) {
  std::vector<std::string> places;
  auto sockets = inherited_sockets();
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    TRY(auto place, threads[i % threads.size()]->server.listen_fd(sockets[i]));
    places.push_back(place.starts_with("unix:") ? place : "http://" + place);
  }
  if (sockets.empty()) {
    std::uint16_t port = config.server.port;
    for (auto& io : threads) {
      TRY_VOID(io->server.listen_tcp(config.server.address, port, threads.size() > 1));
      port = io->server.port();
    }
    bool six = config.server.address.find(':') != std::string::npos;
    places.push_back(fmt::format("http://{}{}{}:{}", six ? "[" : "", config.server.address, six ? "]" : "", port));
  }
  auto own = "unix:" + config.server.socket;
  if (config.server.socket.empty() || std::ranges::find(places, own) != places.end()) return places;
  TRY_VOID(make_private_folder(std::filesystem::path(config.server.socket).parent_path()));
  TRY_VOID(threads.front()->server.listen_unix(config.server.socket));
  places.push_back(own);
  return places;
}

// Signals and the configuration file, as two descriptors that can be waited for.
class Wakes {
 public:
  explicit Wakes(const std::string& file) : name_(std::filesystem::path(file).filename()) {
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr); // before any thread starts: all inherit it
    signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    files_ = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    // The folder, not the file: editors replace files by renaming.
    auto folder = std::filesystem::path(file).parent_path();
    if (files_ >= 0) ::inotify_add_watch(files_, folder.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO);
  }
  ~Wakes() {
    ::close(signals_);
    ::close(files_);
  }
  Wakes(const Wakes&) = delete;
  Wakes& operator=(const Wakes&) = delete;

  enum class What { Stop, Reload };
  What wait() {
    for (;;) {
      pollfd fds[2]{{signals_, POLLIN, 0}, {files_, POLLIN, 0}};
      if (::poll(fds, 2, -1) < 0) continue;
      signalfd_siginfo info{};
      while (::read(signals_, &info, sizeof info) == sizeof info)
        return info.ssi_signo == SIGHUP ? What::Reload : What::Stop;
      if (file_changed()) return What::Reload;
    }
  }

 private:
  bool file_changed() {
    alignas(inotify_event) char buffer[4096];
    bool changed = false;
    for (ssize_t n; (n = ::read(files_, buffer, sizeof buffer)) > 0;)
      for (char* at = buffer; at < buffer + n;) {
        auto* event = reinterpret_cast<inotify_event*>(at);
        changed = changed || (event->len > 0 && name_ == event->name);
        at += sizeof(inotify_event) + event->len;
      }
    return changed;
  }
  std::string name_;
  int signals_ = -1;
  int files_ = -1;
};

void reload(gateway::State& state, const Options& options) {
  auto config = load(options);
  if (!config) {
    log::error("configuration not reloaded, the old one stays: {}", config.error().message);
    return;
  }
  auto old = state.config();
  if (config->server.port != old->server.port || config->server.address != old->server.address)
    log::warn("[server] listen changed: that needs a restart; everything else is in force");
  // A port that the system chose stays.
  config->server.port = old->server.port;
  config->server.address = old->server.address;
  state.apply(std::move(*config));
  log::info("configuration reloaded, policy {}", state.config()->policy.digest());
}

std::unique_ptr<ledger::Ledger> open_ledger(const config::Config& config) {
  auto ledger = ledger::Ledger::open(config.paths.receipts_file);
  if (ledger) return std::move(*ledger);
  log::error("no receipts can be written: {}; only this device will serve until that is mended",
             ledger.error().message);
  return nullptr;
}

Result<std::unique_ptr<local::Engines>> start_engines(const config::Config& config, const Clock& clock) {
  if (config.local.engine == "none") return std::unique_ptr<local::Engines>();
  return local::Engines::start(config.local, clock);
}

} // namespace

int serve(const Options& options, config::Config config) {
  harden();
  for (const auto& folder : {config.paths.state_dir, config.paths.data_dir, config.paths.runtime_dir})
    if (auto ok = make_private_folder(folder); !ok) log::error("{}", ok.error().message);
  Wakes wakes(config.paths.config_file);

  SystemClock clock;
  auto engines = start_engines(config, clock);
  if (!engines) return complain(engines.error());
  auto ledger = open_ledger(config);
  gateway::State state(config, clock, std::move(*engines), std::move(ledger));

  IoThreads threads;
  for (int i = 0; i < std::max(1, config.server.io_threads); ++i)
    threads.push_back(std::make_unique<IoThread>(state, limits_of(config)));
  auto places = listen(threads, config);
  if (!places) return complain(places.error());
  for (auto& io : threads) io->thread = std::thread([&io] { io->worker.run(); });

  for (const auto& place : *places) fmt::print(stderr, "listening on {}\n", place);
  ::malloc_trim(0); // what start-up needed once goes back
  notify_systemd("READY=1");
  while (wakes.wait() == Wakes::What::Reload) reload(state, options);

  notify_systemd("STOPPING=1");
  log::info("stopping: running answers have {} s to end; a second signal ends them now", kGrace.count() / 1000);
  for (auto& io : threads) io->worker.stop(kGrace);
  std::jthread impatient([&wakes, &threads](const std::stop_token& done) {
    while (wakes.wait() == Wakes::What::Reload) {}
    if (!done.stop_requested())
      for (auto& io : threads) io->worker.stop(milliseconds{0});
  });
  for (auto& io : threads) io->thread.join();
  impatient.request_stop();
  ::kill(::getpid(), SIGTERM); // wakes the impatient thread
  impatient.join();
  return kOk;
}

} // namespace intertie::bin
