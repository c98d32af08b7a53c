#include "bin/daemon_client.hpp"

#include <sys/stat.h>

#include <fmt/format.h>

#include "net/worker.hpp"

namespace intertie::bin {
namespace {

constexpr std::size_t kMostBody = 64u << 20;

Task<Result<Answer>> exchange(net::Client& client, net::Endpoint endpoint, std::string head, DaemonRequest request,
                              Call& call, net::Timeouts timeouts) {
  std::vector<std::string_view> body{request.body};
  net::Request outgoing{.head = head, .headers = request.headers, .body = body};
  CO_TRY(auto reply, co_await client.send(endpoint, outgoing, call, timeouts));
  Answer answer;
  answer.status = reply.status();
  answer.place = reply.header("x-intertie-place");
  answer.model = reply.header("x-intertie-model");
  answer.decision = reply.header("x-intertie-decision");
  answer.reason = reply.header("x-intertie-reason");
  if (request.begun) request.begun(answer);
  for (;;) {
    CO_TRY(auto bytes, co_await reply.read());
    if (bytes.empty()) co_return answer;
    if (request.each && answer.status == 200) request.each(bytes);
    else if (answer.body.size() + bytes.size() <= kMostBody) answer.body += bytes;
  }
}

struct Job {
  Job(net::Worker& w, const Clock& clock, milliseconds limit)
      : worker(w), client(w), call{make_call_id(clock.wall()), clock, clock.now(), clock.now() + limit, {}, "cli"} {}
  net::Worker& worker;
  net::Client client;
  Call call;
  Result<Answer> result = internal("no answer");
};

Task<void> run_job(Job& job, net::Endpoint endpoint, std::string head, DaemonRequest request, net::Timeouts timeouts) {
  net::Worker::Watched watched(job.worker, job.call);
  job.result =
      co_await exchange(job.client, std::move(endpoint), std::move(head), std::move(request), job.call, timeouts);
  job.worker.stop(milliseconds{0});
}

Result<Answer> run(net::Endpoint endpoint, std::string head, DaemonRequest request, milliseconds limit) {
  SystemClock clock;
  net::Worker worker(clock);
  Job job(worker, clock, limit);
  worker.spawn(
      run_job(job, std::move(endpoint), std::move(head), std::move(request), {milliseconds{2000}, limit, limit}));
  worker.run();
  return std::move(job.result);
}

net::Endpoint daemon_endpoint(const config::Config& config) {
  net::Endpoint endpoint;
  struct stat st{};
  if (const auto& socket = config.server.socket;
      !socket.empty() && ::stat(socket.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) {
    endpoint.transport = net::Endpoint::Transport::Unix;
    endpoint.host = socket;
    return endpoint;
  }
  endpoint.host = config.server.address;
  endpoint.port = config.server.port;
  return endpoint;
}

} // namespace

Result<Answer> ask_daemon(const config::Config& config, DaemonRequest request) {
  auto endpoint = daemon_endpoint(config);
  std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: intertie-cli/" INTERTIE_VERSION
                                 "\r\n"
                                 "Content-Type: application/json\r\n",
                                 request.method, request.path);
  auto tcp = endpoint;
  tcp.transport = net::Endpoint::Transport::Tcp;
  tcp.host = config.server.address;
  tcp.port = config.server.port;
  auto limit = request.limit > milliseconds{0} ? request.limit : config.server.request_timeout;
  auto answer = run(endpoint, head, request, limit);
  if (!answer && answer.error().fault == Fault::Transient && !(endpoint == tcp)) // a stale socket file
    answer = run(tcp, head, std::move(request), limit);
  if (!answer && answer.error().kind == FailureKind::Unavailable)
    return fail(
        FailureKind::Unavailable, Fault::Transient,
        fmt::format(
            "no daemon is listening on {}:{}; start one with `intertie serve` (or `./dev run` in the source tree)",
            config.server.address, config.server.port),
        "not_running");
  return answer;
}

Result<Answer> fetch(const net::Endpoint& endpoint, std::string head, std::string body, milliseconds limit) {
  DaemonRequest request;
  request.body = std::move(body);
  return run(endpoint, std::move(head), std::move(request), limit);
}

} // namespace intertie::bin
