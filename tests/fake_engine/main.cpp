// Plays llama-server for tests: the same flags, the same endpoints over a unix socket, made-up answers, and on demand the
// misbehaviours that a real one was seen to have. `--fake a,b=N,…` among its arguments says which:
//   load=MS          503 from /health for so long            crash=WORD     exit 1 with a known message (see kCrashes)
//   signal=N         dies of a signal while loading          oom=TOKENS     killed by signal 9 when -c is larger
//   die=N            signal 9 after N events of a chat       hang           a chat stays silent, /health is fine
//   wedge            after the first chat nothing answers    deaf           ignores the first SIGTERM; the second exits 1
//   stone            ignores every SIGTERM                   stuck-slot     goes on after its reader has left
//   token=MS         time for each event of a chat           events=N       how many (default 5)
//   no-grammar       grammars are refused                    small          /props tells half the context
//   broken           completions answer 500                  leave=MS       exits 0 by itself after so long
// GET /environment and /egress tell what the child sees of the world, for the tests of its isolation.
#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <thread>

extern char** environ;
// A child in a filter that forbids ptrace can't look for leaks at its end.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace {
using std::chrono::milliseconds;
using Modes = std::map<std::string, int, std::less<>>;

constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kCrashes{{
    {"magic", "gguf_init_from_file: invalid magic characters: 'xxxx', expected 'GGUF'\ninvalid magic"},
    {"bounds", "tensor 'blk.0.ffn_up.weight' data is not within the file bounds, model is corrupted or incomplete"},
    {"pairs", "gguf_init_from_file: failed to read key-value pairs"},
    {"memory", "insufficient memory (attempted to allocate 5000.00 MB)"},
    {"kv", "llama_kv_cache_init: failed to allocate buffer for kv cache"},
    {"bind", "main: couldn't bind HTTP server socket, hostname: x"},
    {"template", "the supplied chat template is not supported"},
    {"variable", "error while handling environment variable \"LLAMA_ARG_X\""},
    {"tensor", "llama_model_load: error loading model: tensor 'output_norm.weight' not found"},
    {"argument", "error: invalid argument: --nonsense"},
}};

struct Fake {
  Modes modes;
  std::string crash, socket, model, key;
  int context = 4096, slots = 1;
  int death = 0; // the signal that comes when the parent dies; known to the first thread only
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::atomic<int> busy{0};
  std::atomic<bool> wedged{false};

  int mode(std::string_view name, int otherwise = 0) const {
    auto at = modes.find(name);
    return at == modes.end() ? otherwise : at->second;
  }
  bool loading() const { return std::chrono::steady_clock::now() - started < milliseconds{mode("load")}; }
};
Fake fake;

void wait(int ms) {
  timespec time{ms / 1000, (ms % 1000) * 1'000'000L};
  ::nanosleep(&time, nullptr);
}
[[noreturn]] void stay_forever() {
  for (;;) ::pause();
}

bool send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    auto sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}
bool answer(int fd, int status, std::string_view body) {
  return send_all(fd, "HTTP/1.1 " + std::to_string(status) +
                          " X\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                          "\r\nConnection: close\r\n\r\n" + std::string(body));
}
bool chunk(int fd, const std::string& text) {
  std::array<char, 24> size{};
  std::snprintf(size.data(), size.size(), "%zx\r\n", text.size());
  return send_all(fd, size.data() + text + "\r\n");
}
bool gone(int fd) {
  char byte = 0;
  return ::recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

constexpr std::string_view kTimings =
    R"("timings":{"cache_n":0,"prompt_n":120,"prompt_ms":240.0,"predicted_n":40,"predicted_ms":800.0})";

void chat(int fd, bool stream) {
  ++fake.busy;
  if (fake.modes.contains("hang")) {
    if (stream)
      send_all(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    stay_forever();
  }
  int events = fake.mode("events", 5);
  bool there =
      !stream || send_all(fd,
                          "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
                          "Connection: close\r\n\r\n");
  for (int i = 0; i < events && there; ++i) {
    wait(fake.mode("token"));
    if (fake.mode("die", -1) == i) ::raise(SIGKILL);
    there =
        stream
            ? chunk(
                  fd,
                  R"(data: {"id":"f","object":"chat.completion.chunk","created":1,"model":"fake","choices":[{"index":0,"delta":)"
                  R"({"content":"word "},"finish_reason":null}]})"
                  "\n\n")
            : !gone(fd);
  }
  if (!there && fake.modes.contains("stuck-slot")) stay_forever();
  auto usage = std::string(R"("usage":{"prompt_tokens":12,"completion_tokens":)") + std::to_string(events) +
               R"(,"total_tokens":)" + std::to_string(12 + events) + "}," + std::string(kTimings);
  if (stream && there) {
    chunk(
        fd,
        R"(data: {"id":"f","object":"chat.completion.chunk","created":1,"model":"fake","choices":[{"index":0,"delta":{},)"
        R"("finish_reason":"stop"}],)" +
            usage + "}\n\n");
    chunk(fd, "data: [DONE]\n\n");
    send_all(fd, "0\r\n\r\n");
  } else if (there) {
    answer(fd, 200,
           R"({"id":"f","object":"chat.completion","created":1,"model":"fake","choices":[{"index":0,"message":)"
           R"({"role":"assistant","content":"word word word"},"finish_reason":"stop"}],)" +
               usage + "}");
  }
  --fake.busy;
  if (fake.modes.contains("wedge")) fake.wedged = true;
}

void completion(int fd, std::string_view body) {
  if (fake.modes.contains("broken")) {
    answer(fd, 500, R"({"error":{"message":"broken"}})");
    return;
  }
  bool grammar = body.find("\"grammar\"") != std::string_view::npos;
  if (grammar && fake.modes.contains("no-grammar")) {
    answer(fd, 400, R"({"error":{"message":"Failed to initialize samplers"}})");
    return;
  }
  auto text =
      std::string(R"({"content":")") + (grammar ? "a" : "Hello") + R"(","stop":true,)" + std::string(kTimings) + "}";
  if (body.find("\"stream\":true") == std::string_view::npos) answer(fd, 200, text);
  else answer(fd, 200, "data: " + text + "\n\n");
}

std::string egress() {
  std::string out = "{";
  struct Try {
    const char* name;
    int family, type;
  };
  for (auto [name, family, type] :
       {Try{"tcp", AF_INET, SOCK_STREAM}, Try{"udp", AF_INET, SOCK_DGRAM}, Try{"tcp6", AF_INET6, SOCK_STREAM},
        Try{"netlink", AF_NETLINK, SOCK_RAW}, Try{"packet", AF_PACKET, SOCK_RAW}, Try{"unix", AF_UNIX, SOCK_STREAM}}) {
    int fd = ::socket(family, type, 0);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0) ::close(fd);
    out += (out.size() > 1 ? ",\"" : "\"") + std::string(name) + "\":" + std::to_string(error);
  }
  int interfaces = 0; // besides loopback
  if (FILE* file = std::fopen("/proc/net/dev", "r"); file != nullptr) {
    std::array<char, 512> line{};
    while (std::fgets(line.data(), line.size(), file) != nullptr)
      if (std::strchr(line.data(), ':') != nullptr && std::strstr(line.data(), "lo:") == nullptr) ++interfaces;
    std::fclose(file);
  }
  return out + ",\"interfaces\":" + std::to_string(interfaces) + "}";
}

std::string environment() {
  rlimit core{};
  ::getrlimit(RLIMIT_CORE, &core);
  auto mask = ::umask(0);
  ::umask(mask);
  int most = 0; // highest descriptor we did not open ourselves
  if (auto* folder = ::opendir("/proc/self/fd"); folder != nullptr) {
    while (auto* entry = ::readdir(folder)) {
      std::array<char, 256> target{};
      auto path = std::string("/proc/self/fd/") + entry->d_name;
      if (::readlink(path.c_str(), target.data(), target.size() - 1) > 0 &&
          std::strncmp(target.data(), "socket:", 7) != 0 && std::strncmp(target.data(), "/proc/", 6) != 0 &&
          std::atoi(entry->d_name) > most)
        most = std::atoi(entry->d_name);
    }
    ::closedir(folder);
  }
  std::array<char, 16> score{};
  if (FILE* file = std::fopen("/proc/self/oom_score_adj", "r"); file != nullptr) {
    if (std::fgets(score.data(), score.size(), file) != nullptr) score[std::strcspn(score.data(), "\n")] = 0;
    std::fclose(file);
  }
  std::string names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string_view text = *entry;
    names += (names.empty() ? "\"" : ",\"") + std::string(text.substr(0, text.find('='))) + "\"";
  }
  return "{\"death\":" + std::to_string(fake.death) + ",\"core\":" + std::to_string(core.rlim_cur) +
         ",\"umask\":" + std::to_string(mask) + ",\"nice\":" + std::to_string(::getpriority(PRIO_PROCESS, 0)) +
         ",\"leader\":" + (::getsid(0) == ::getpid() ? "1" : "0") + ",\"highest_fd\":" + std::to_string(most) +
         ",\"oom\":" + (score[0] != 0 ? score.data() : "0") + ",\"names\":[" + names + "]}";
}

void serve(int fd, std::string_view path, std::string_view head, std::string_view body) {
  if (fake.wedged) stay_forever();
  if (path == "/health") {
    if (fake.loading()) answer(fd, 503, R"({"error":{"code":503,"message":"Loading model"}})");
    else answer(fd, 200, R"({"status":"ok"})");
    return;
  }
  if (!fake.key.empty() && head.find("Bearer " + fake.key) == std::string_view::npos) {
    answer(fd, 401, R"({"error":{"message":"Invalid API Key"}})");
    return;
  }
  if (path == "/props")
    answer(fd, 200,
           R"({"default_generation_settings":{"n_ctx":)" +
               std::to_string(fake.context / fake.slots / (fake.modes.contains("small") ? 2 : 1)) +
               R"(},"total_slots":)" + std::to_string(fake.slots) +
               R"(,"chat_template_caps":{"supports_tools":true}})");
  else if (path == "/slots") {
    std::string out = "[";
    for (int i = 0; i < fake.slots; ++i)
      out += std::string(i > 0 ? "," : "") + R"({"is_processing":)" + (i < fake.busy ? "true}" : "false}");
    answer(fd, 200, out + "]");
  } else if (path == "/completion") completion(fd, body);
  else if (path == "/v1/chat/completions") chat(fd, body.find("\"stream\":true") != std::string_view::npos);
  else if (path == "/egress") answer(fd, 200, egress());
  else if (path == "/environment") answer(fd, 200, environment());
  else answer(fd, 404, R"({"error":{"message":"File Not Found"}})");
}

void connection(int fd) {
  std::string text;
  std::array<char, 8192> buffer{};
  std::size_t head_end = std::string::npos, length = 0;
  while (head_end == std::string::npos || text.size() < head_end + 4 + length) {
    auto got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) {
      ::close(fd);
      return;
    }
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (head_end == std::string::npos && (head_end = text.find("\r\n\r\n")) != std::string::npos)
      if (auto at = text.find("Content-Length: "); at != std::string::npos && at < head_end)
        length = std::strtoul(text.c_str() + at + 16, nullptr, 10);
  }
  auto path = text.substr(text.find(' ') + 1);
  path.resize(path.find(' '));
  serve(fd, path, std::string_view{text}.substr(0, head_end), std::string_view{text}.substr(head_end + 4));
  ::close(fd);
}

void read_modes(std::string_view text) {
  while (!text.empty()) {
    auto word = text.substr(0, text.find(','));
    text.remove_prefix(word.size() < text.size() ? word.size() + 1 : word.size());
    auto equals = word.find('=');
    auto name = word.substr(0, equals);
    auto value = equals == std::string_view::npos ? std::string_view{} : word.substr(equals + 1);
    if (name == "crash") fake.crash = value;
    fake.modes[std::string(name)] = std::atoi(std::string(value).c_str());
  }
}

void misbehave_at_start() {
  for (auto [word, message] : kCrashes) {
    if (fake.crash != word) continue;
    std::fprintf(stderr, "%s\n", std::string(message).c_str());
    std::exit(1);
  }
  if (fake.modes.contains("signal")) { // without a sanitizer that would catch it
    ::signal(fake.mode("signal"), SIG_DFL);
    ::raise(fake.mode("signal"));
  }
  if (fake.modes.contains("oom") && fake.context > fake.mode("oom")) ::raise(SIGKILL);
  static std::atomic<int> terms{0};
  if (fake.modes.contains("stone")) ::signal(SIGTERM, SIG_IGN);
  if (fake.modes.contains("deaf"))
    ::signal(SIGTERM, [](int) {
      if (++terms == 2) ::_exit(1);
    });
  if (fake.modes.contains("leave"))
    std::thread([] {
      wait(fake.mode("leave"));
      std::_Exit(0);
    }).detach();
}
} // namespace

int main(int count, char** words) {
  ::prctl(PR_GET_PDEATHSIG, &fake.death);
  for (int i = 1; i + 1 < count; ++i) {
    std::string_view word = words[i];
    if (word == "--host") fake.socket = words[i + 1];
    else if (word == "-m") fake.model = words[i + 1];
    else if (word == "-c") fake.context = std::atoi(words[i + 1]);
    else if (word == "-np") fake.slots = std::atoi(words[i + 1]);
    else if (word == "--fake") read_modes(words[i + 1]);
  }
  if (const char* key = std::getenv("LLAMA_API_KEY"); key != nullptr) fake.key = key;
  ::signal(SIGTERM, [](int) { ::_exit(0); });
  misbehave_at_start();
  int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (fake.socket.size() >= sizeof address.sun_path) return 1;
  std::memcpy(address.sun_path, fake.socket.c_str(), fake.socket.size() + 1);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener, 64) != 0) {
    std::fprintf(stderr, "main: couldn't bind HTTP server socket, hostname: %s\n", fake.socket.c_str());
    return 1;
  }
  std::printf("fake engine: %s\n", fake.model.c_str());
  std::fflush(stdout);
  for (;;) {
    int fd = ::accept(listener, nullptr, nullptr);
    if (fd >= 0) std::thread(connection, fd).detach();
  }
}
