// Load client with exact nanosecond records.
//   bench_load PORT [--connections N] [--seconds S] [--warm S] [--body BYTES] [--model NAME]
//              [--stream --chunks N --pace USEC] [--rate R] [--hold idle|streams] [--vary]
// Closed loop (default): each connection sends the next request when the last answer is whole. --rate: open loop, R
// requests per second on a fixed timetable whatever the server does; latency counts from the time on the table, so a
// stall shows in every request that it delayed. --hold: open N idle connections (after one request each) or N live
// streams, print "ready", keep them until stdin closes. --vary: no two requests alike (max_completion_tokens counts up), so
// that nothing which is remembered of one helps the next. Result: one line of JSON, times in microseconds.
// One thread, epoll, loopback only. Every answer is checked; one that is wrong counts as an error.
#include <algorithm>
#include <csignal>
#include <deque>
#include <span>
#include <vector>

#include "socket.hpp"

namespace bench {
namespace {

struct Options {
  int port = 0;
  int connections = 1;
  double seconds = 1, warm = 0.1, rate = 0;
  std::size_t body = 2304;
  std::string model = "auto", hold;
  bool stream = false, vary = false;
  int chunks = 64, pace = 0;
};

std::string make_body(const Options& options) {
  std::string text = "{\"model\":\"" + options.model +
                     "\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a careful "
                     "assistant who answers in short sentences.\"},{\"role\":\"user\",\"content\":\"";
  if (options.stream)
    text += "chunks=" + std::to_string(options.chunks) + " pace=" + std::to_string(options.pace) + " ";
  std::string end = "\"}],\"temperature\":0.7,\"top_p\":0.95,\"max_completion_tokens\":10512";
  end += options.stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}" : "}";
  constexpr std::string_view kWords =
      "Explain how the tide follows the moon and why the second bulge is on the far side. ";
  while (text.size() + end.size() < options.body)
    text.append(kWords.substr(0, std::min(kWords.size(), options.body - text.size() - end.size())));
  return text + end;
}

std::string make_request(const Options& options) {
  std::string body = make_body(options);
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: OpenAI/Python 1.60.0\r\nAccept: "
         "application/json\r\n"
         "Content-Type: application/json\r\nAuthorization: Bearer sk-client-0123456789abcdef0123456789abcdef\r\n"
         "X-Stainless-Lang: python\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Takes an answer apart as it comes; knows both framings.
class Answer {
 public:
  // Bytes of the answer. True when it is whole.
  bool take(std::string_view bytes) {
    raw_.append(bytes);
    if (body_at_ == 0 && !read_head()) return false;
    if (length_ >= 0) return raw_.size() >= body_at_ + static_cast<std::size_t>(length_);
    return read_chunks();
  }
  bool has_body() const { return length_ >= 0 ? body_at_ != 0 && raw_.size() > body_at_ : !body_.empty(); }
  bool right(const Options& options) const {
    if (!raw_.starts_with("HTTP/1.1 200")) return false;
    if (!options.stream) return raw_.find("\"usage\"", body_at_) != std::string::npos;
    return events() == static_cast<std::size_t>(options.chunks) + 1 && body_.ends_with("data: [DONE]\n\n");
  }
  std::size_t events() const {
    std::size_t count = 0;
    for (auto at = body_.find("data: "); at != std::string::npos; at = body_.find("data: ", at + 6)) ++count;
    return count;
  }
  std::string_view start() const { return std::string_view(raw_).substr(0, 400); }
  void reset() { raw_.clear(), body_.clear(), body_at_ = at_ = 0, length_ = -1, chunk_left_ = 0; }

 private:
  bool read_head() {
    auto end = raw_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    body_at_ = at_ = end + 4;
    if (auto value = header(std::string_view(raw_).substr(0, end), "content-length:"))
      length_ = std::atol(value->c_str());
    return true;
  }
  bool read_chunks() {
    while (at_ < raw_.size()) {
      if (chunk_left_ == 0) {
        auto line = raw_.find("\r\n", at_);
        if (line == std::string::npos) return false;
        chunk_left_ = std::strtoul(raw_.c_str() + at_, nullptr, 16) + 2; // with the line end behind it
        if (chunk_left_ == 2) return raw_.size() >= line + 4;            // the last chunk, no trailers
        at_ = line + 2;
      }
      auto take = std::min(chunk_left_, raw_.size() - at_);
      auto data = chunk_left_ > 2 ? std::min(take, chunk_left_ - 2) : 0;
      body_.append(raw_, at_, data);
      at_ += take;
      chunk_left_ -= take;
    }
    return false;
  }
  std::string raw_, body_;
  std::size_t body_at_ = 0, at_ = 0, chunk_left_ = 0;
  long length_ = -1;
};

struct Connection {
  int fd = -1;
  bool busy = false;
  Nanos begun = 0, first = 0; // begun: when sent, or when the timetable said so
  Answer answer;
};

struct Records {
  std::vector<Nanos> latency, first;
  std::uint64_t total = 0, errors = 0, events = 0, late = 0; // total and events include the warm-up
};

double quantile(std::span<const Nanos> sorted, double q) {
  if (sorted.empty()) return 0;
  auto at = static_cast<std::size_t>(q * static_cast<double>(sorted.size()));
  return static_cast<double>(sorted[std::min(at, sorted.size() - 1)]) / 1000;
}

// The median of the p99 of windows: one hiccup of the host spoils one window, not the figure.
double window_p99(const std::vector<Nanos>& records, std::size_t width) {
  std::vector<Nanos> tails;
  for (std::size_t i = 0; i + width <= records.size(); i += width) {
    std::vector<Nanos> window(records.begin() + static_cast<long>(i), records.begin() + static_cast<long>(i + width));
    std::ranges::sort(window);
    tails.push_back(window[width * 99 / 100]);
  }
  std::ranges::sort(tails);
  return quantile(tails, 0.5);
}

void print_times(const char* name, std::vector<Nanos> records) {
  double tail = window_p99(records, records.size() >= 2000 ? 500 : 100);
  std::ranges::sort(records);
  std::printf(",\"%s\":{\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"window_p99\":%.2f,\"max\":%.2f}", name,
              quantile(records, .5), quantile(records, .9), quantile(records, .99), quantile(records, .999), tail,
              quantile(records, 1));
}

class Load {
 public:
  explicit Load(Options options)
      : options_(std::move(options)),
        request_(make_request(options_)),
        varied_at_(request_.find("_tokens\":") + 9),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        connections_(static_cast<std::size_t>(options_.connections)) {
    records_.latency.reserve(1 << 20);
    for (auto& connection : connections_) open(connection);
  }

  int measure() {
    begin_ = now();
    counted_from_ = begin_ + static_cast<Nanos>(options_.warm * 1e9);
    end_ = counted_from_ + static_cast<Nanos>(options_.seconds * 1e9);
    if (options_.rate > 0) next_due_ = begin_;
    else
      for (auto& connection : connections_) fire(connection, now());
    while (busy_ > 0 || (options_.rate > 0 && now() < end_)) {
      if (!turn(options_.rate > 0 ? next_due_ : now() + 5 * kSecond)) break;
      if (options_.rate > 0) follow_timetable();
    }
    double seconds = static_cast<double>(std::max(last_, end_) - counted_from_) / 1e9;
    std::printf(
        "{\"requests\":%zu,\"total\":%llu,\"errors\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,\"events\":%llu,"
        "\"late\":%llu",
        records_.latency.size(), static_cast<unsigned long long>(records_.total),
        static_cast<unsigned long long>(records_.errors), seconds,
        static_cast<double>(records_.latency.size()) / seconds, static_cast<unsigned long long>(records_.events),
        static_cast<unsigned long long>(records_.late));
    print_times("latency", records_.latency);
    if (!records_.first.empty()) print_times("first", records_.first);
    std::puts("}");
    return records_.errors == 0 ? 0 : 1;
  }

  // Opens what is to be held, says "ready", holds it until stdin closes.
  int hold() {
    bool streams = options_.hold == "streams";
    end_ = 0; // no second request
    for (auto& connection : connections_) {
      fire(connection, now());
      while (connection.busy && !(streams && connection.first != 0))
        if (!turn(now() + 5 * kSecond)) return 1;
    }
    std::puts("ready");
    std::fflush(stdout);
    watch(epoll_, STDIN_FILENO, this);
    stdin_open_ = true;
    while (stdin_open_) turn(std::nullopt);
    return records_.errors == 0 ? 0 : 1;
  }

 private:
  void open(Connection& connection) {
    connection.fd = connect_to(options_.port);
    watch(epoll_, connection.fd, &connection);
  }

  void fire(Connection& connection, Nanos at) {
    connection.answer.reset();
    connection.begun = at;
    connection.first = 0;
    connection.busy = true;
    ++busy_;
    if (options_.vary) vary();
    if (!send_all(connection.fd, request_)) fault("could not send", connection);
  }

  void vary() { // 10000 … 99999, over and over
    for (auto at = varied_at_ + 5; at-- > varied_at_;) {
      if (request_[at] != '9') {
        ++request_[at];
        return;
      }
      request_[at] = at == varied_at_ ? '1' : '0';
    }
  }

  void fault(const char* what, Connection& connection) {
    if (++records_.errors <= 3)
      std::fprintf(stderr, "load: %s: %.*s\n", what, static_cast<int>(connection.answer.start().size()),
                   connection.answer.start().data());
  }

  // Open loop: what is due goes to a free connection, or waits and is counted as late.
  void follow_timetable() {
    for (Nanos time = now(); next_due_ <= time && next_due_ < end_;
         next_due_ += static_cast<Nanos>(1e9 / options_.rate))
      waiting_.push_back(next_due_);
    for (auto& connection : connections_) {
      if (waiting_.empty()) return;
      if (connection.busy) continue;
      fire(connection, waiting_.front());
      waiting_.pop_front();
    }
    records_.late += waiting_.empty() ? 0 : 1;
    if (next_due_ >= end_) next_due_ = now() + 5 * kSecond;
  }

  // One wait and what it brings. False: nothing came for so long that the server is stuck.
  bool turn(std::optional<Nanos> due) {
    epoll_event events[256];
    int count = wait(epoll_, events, 256, due);
    if (count == 0 && options_.rate <= 0) {
      std::fprintf(stderr, "load: no answer for 5 s, %zu requests open\n", busy_);
      records_.errors += busy_;
      return false;
    }
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == this) stdin_open_ = false;
      else receive(*static_cast<Connection*>(events[i].data.ptr));
    }
    return true;
  }

  void receive(Connection& connection) {
    static char buffer[1 << 18];
    ssize_t got = recv(connection.fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    Nanos time = now();
    if (got <= 0) {
      if (connection.busy || options_.hold.empty()) fault("connection closed", connection);
      busy_ -= connection.busy ? 1 : 0;
      connection.busy = false;
      close(connection.fd);
      if (time >= end_) return;
      open(connection);
      if (options_.rate <= 0) fire(connection, time);
      return;
    }
    if (!connection.busy) return fault("bytes nobody asked for", connection);
    bool whole = connection.answer.take({buffer, static_cast<std::size_t>(got)});
    if (connection.first == 0 && connection.answer.has_body()) connection.first = time;
    if (whole) finish(connection, time);
  }

  void finish(Connection& connection, Nanos time) {
    connection.busy = false;
    --busy_;
    ++records_.total;
    if (!connection.answer.right(options_)) fault("wrong answer", connection);
    if (connection.begun >= counted_from_ && end_ != 0) {
      records_.latency.push_back(time - connection.begun);
      if (options_.stream) records_.first.push_back(connection.first - connection.begun);
    }
    if (options_.stream) records_.events += connection.answer.events();
    last_ = time;
    if (options_.rate <= 0 && time < end_) fire(connection, now());
  }

  Options options_;
  std::string request_;
  std::size_t varied_at_; // five digits
  int epoll_;
  std::vector<Connection> connections_;
  std::deque<Nanos> waiting_;
  std::size_t busy_ = 0;
  Nanos begin_ = 0, counted_from_ = 0, end_ = 0, last_ = 0, next_due_ = 0;
  bool stdin_open_ = false;
  Records records_;
};

std::optional<Options> read_options(int argc, char** argv) {
  if (argc < 2) return std::nullopt;
  Options options;
  options.port = std::atoi(argv[1]);
  for (int i = 2; i < argc; ++i) {
    std::string_view name = argv[i];
    if (name == "--stream" || name == "--vary") {
      (name == "--vary" ? options.vary : options.stream) = true;
      continue;
    }
    if (i + 1 == argc) return std::nullopt;
    const char* value = argv[++i];
    if (name == "--connections") options.connections = std::atoi(value);
    else if (name == "--seconds") options.seconds = std::atof(value);
    else if (name == "--warm") options.warm = std::atof(value);
    else if (name == "--rate") options.rate = std::atof(value);
    else if (name == "--body") options.body = static_cast<std::size_t>(std::atol(value));
    else if (name == "--model") options.model = value;
    else if (name == "--hold") options.hold = value;
    else if (name == "--chunks") options.chunks = std::atoi(value);
    else if (name == "--pace") options.pace = std::atoi(value);
    else return std::nullopt;
  }
  return options;
}
} // namespace
} // namespace bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  auto options = bench::read_options(argc, argv);
  if (!options) {
    std::fputs("usage: bench_load PORT [options]; they stand at the top of bench/load.cpp\n", stderr);
    return 2;
  }
  bench::Load load(*options);
  return options->hold.empty() ? load.measure() : load.hold();
}
