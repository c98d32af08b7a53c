#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "net/rig_test.hpp"

namespace intertie::net {
namespace {
using std::chrono::steady_clock;

Task<void> echo(Exchange& exchange) {
  Header header{"X-Method", exchange.method()};
  (void)co_await exchange.respond(200, "text/plain", {&header, 1}, exchange.body());
}

bool ends_with(const std::string& text, std::string_view end) { return text.ends_with(end); }
int status_of(const std::string& answer) { return answer.size() > 12 ? std::stoi(answer.substr(9, 3)) : 0; }

TEST(Server, AnswersAndKeepsTheConnection) {
  Rig rig(echo);
  auto client = rig.connect();
  for (int i = 0; i < 3; ++i) {
    std::string body = "hello " + std::to_string(i);
    auto answer = client.ask(post(body));
    EXPECT_EQ(answer,
              "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Method: POST\r\nContent-Length: 7\r\n\r\n" + body);
  }
  EXPECT_EQ(rig.server->connections(), 1U);
}

TEST(Server, ServesPipelinedRequestsInOrder) {
  Rig rig(echo);
  auto client = rig.connect();
  std::string all;
  for (int i = 0; i < 200; ++i)
    all += post("n" + std::to_string(i) + std::string(static_cast<std::size_t>(i * 7), '.'));
  ASSERT_TRUE(client.send(all));
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(ends_with(client.answer(),
                          "\r\n\r\nn" + std::to_string(i) + std::string(static_cast<std::size_t>(i * 7), '.')));
}

TEST(Server, AnyCutOfARequestIsTheSameRequest) {
  Rig rig(echo);
  auto client = rig.connect();
  for (const std::string& request :
       {post("the body"), std::string("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                                      "3\r\nthe\r\n5\r\n body\r\n0\r\n\r\n")})
    for (std::size_t cut = 1; cut < request.size(); ++cut) {
      ASSERT_TRUE(client.send(request.substr(0, cut)));
      ASSERT_TRUE(ends_with(client.ask(request.substr(cut)), "the body")) << cut;
    }
}

TEST(Server, TakesLargeBodiesWholeAndChunked) {
  Rig rig(echo);
  auto client = rig.connect();
  std::string body(3'000'000, 'x');
  for (std::size_t i = 0; i < body.size(); i += 1000) body[i] = static_cast<char>('a' + i / 1000 % 26);
  EXPECT_TRUE(ends_with(client.ask(post(body)), "\r\n\r\n" + body));
  std::string chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t at = 0; at < body.size(); at += 50'000) chunked += "c350\r\n" + body.substr(at, 50'000) + "\r\n";
  EXPECT_TRUE(ends_with(client.ask(chunked + "0\r\n\r\n"), "\r\n\r\n" + body));
  EXPECT_TRUE(ends_with(client.ask(post("small again")), "small again"));
}

TEST(Server, RefusesBadRequestsWithJsonAndCloses) {
  ServerLimits limits;
  limits.body_bytes = 1000;
  limits.head_bytes = 2000;
  limits.headers = 10;
  Rig rig(echo, limits);
  std::string many;
  for (int i = 0; i < 12; ++i) many += "X-" + std::to_string(i) + ": y\r\n";
  struct {
    int status;
    std::string request;
  } table[] = {
      {400, "GET / HTTP/1.1\r\n\r\n"},
      {400, "GET / HTTP/1.1\nHost: localhost\n\n"},
      {400, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"},
      {400, "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
      {403, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"},
      {403, "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n"},
      {413, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n"},
      {413, "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + std::string(2000, 'x')},
      {415, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx"},
      {431, "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(3000, 'x')},
      {431, "GET / HTTP/1.1\r\nHost: localhost\r\n" + many + "\r\n"},
      {505, "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"},
  };
  for (const auto& row : table) {
    auto client = rig.connect();
    auto answer = client.ask(row.request);
    EXPECT_EQ(status_of(answer), row.status) << row.request.substr(0, 80);
    EXPECT_NE(answer.find(R"({"error":{"message":")"), std::string::npos);
    EXPECT_NE(answer.find(R"("param":null,"code":")"), std::string::npos);
    EXPECT_NE(answer.find("Connection: close"), std::string::npos);
    EXPECT_TRUE(client.ended());
  }
}

TEST(Server, TimesOutSlowHeadsAndBodies) {
  ServerLimits limits;
  limits.head_timeout = limits.body_timeout = seconds{1};
  limits.idle_timeout = seconds{1};
  Rig rig(echo, limits);
  auto slow_head = rig.connect(), slow_body = rig.connect(), idle = rig.connect();
  ASSERT_TRUE(slow_head.send("GET / HTTP/1.1\r\nHos"));
  ASSERT_TRUE(slow_body.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc"));
  EXPECT_EQ(status_of(slow_head.answer()), 408);
  EXPECT_EQ(status_of(slow_body.answer()), 408);
  EXPECT_TRUE(idle.ended());
}

// A byte now and then keeps no connection: the whole body has a deadline too.
TEST(Server, TimesOutABodyThatDripsSteadily) {
  ServerLimits limits;
  limits.body_deadline = milliseconds{600};
  Rig rig(echo, limits);
  std::string chunk = "1\r\nx\r\n";
  for (auto [framing, drop] :
       {std::pair<std::string, std::string>{"Content-Length: 100000", "x"}, {"Transfer-Encoding: chunked", chunk}}) {
    auto client = rig.connect();
    auto begun = steady_clock::now();
    ASSERT_TRUE(client.send("POST / HTTP/1.1\r\nHost: localhost\r\n" + framing + "\r\n\r\n"));
    while (!client.readable_within(milliseconds{50}) && steady_clock::now() - begun < seconds{8})
      if (!client.send(drop)) break;
    EXPECT_EQ(status_of(client.answer()), 408) << framing;
    EXPECT_GE(steady_clock::now() - begun, limits.body_deadline);
  }
  auto client = rig.connect();
  EXPECT_EQ(status_of(client.ask(post("at once"))), 200);
}

TEST(Server, ContinuesWhenExpected) {
  Rig rig(echo);
  auto client = rig.connect();
  ASSERT_TRUE(client.send("POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
  EXPECT_EQ(client.answer(), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(ends_with(client.ask("body"), "body"));
}

TEST(Server, InflatesBodiesAndRefusesBombs) {
  Rig rig(echo);
  std::string text(100'000, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i * i % 23);
  auto client = rig.connect();
  EXPECT_TRUE(ends_with(client.ask(post(deflated(text, 31), "Content-Encoding: gzip\r\n")), text));
  EXPECT_TRUE(ends_with(client.ask(post(deflated(text, 15), "Content-Encoding: deflate\r\n")), text));
  EXPECT_TRUE(ends_with(client.ask(post(deflated(text, -15), "Content-Encoding: deflate\r\n")), text));
  EXPECT_TRUE(
      ends_with(client.ask(post(deflated(text, 31) + deflated("tail", 31), "Content-Encoding: gzip\r\n")), "tail"));
  std::string bomb = deflated(std::string(20'000'000, 'x'), 31);
  EXPECT_EQ(status_of(client.ask(post(bomb, "Content-Encoding: gzip\r\n"))), 413);
  auto cut = rig.connect();
  EXPECT_EQ(status_of(cut.ask(post(deflated(text, 31).substr(0, 60), "Content-Encoding: gzip\r\n"))), 400);
  auto junk = rig.connect();
  EXPECT_EQ(status_of(junk.ask(post("not compressed", "Content-Encoding: gzip\r\n"))), 400);
}

TEST(Server, SpeaksHttp10AndHead) {
  Rig rig(echo);
  auto old = rig.connect();
  auto answer = old.ask("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(ends_with(answer, "hi") && old.ended());
  auto kept = rig.connect();
  EXPECT_NE(kept.ask("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
                .find("Connection: keep-alive"),
            std::string::npos);
  EXPECT_TRUE(ends_with(kept.ask(post("more")), "more"));
  ASSERT_TRUE(kept.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  EXPECT_NE(kept.answer(true).find("Content-Length: 0"), std::string::npos);
  EXPECT_TRUE(ends_with(kept.ask(post("and on")), "and on"));
  EXPECT_TRUE(ends_with(kept.ask("\r\n\r\n" + post("after blank lines")), "after blank lines"));
}

TEST(Server, StreamsChunksAndEndsOrAborts) {
  Rig rig([](Exchange& exchange) -> Task<void> {
    bool cut = exchange.path() == "/cut";
    exchange.release_request();
    (void)co_await exchange.start(200, "text/event-stream", {}, "data: 1\n\n");
    (void)co_await exchange.write("data: 2\n\n");
    if (cut) exchange.abort();
    else (void)co_await exchange.finish();
  });
  auto client = rig.connect();
  auto whole = client.ask(post("x") + post("y")); // pipelined: what was sent ahead survives release_request()
  EXPECT_TRUE(ends_with(whole, "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"))
      << whole;
  EXPECT_EQ(client.answer(), whole);
  auto old = rig.connect();
  EXPECT_TRUE(ends_with(old.ask("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx"),
                        "Connection: close\r\n\r\ndata: 1\n\ndata: 2\n\n"));
  auto cut = rig.connect();
  EXPECT_EQ(cut.ask(post("x", "", "/cut")), "");
}

TEST(Server, HandlersThatFailAreAnsweredWith500) {
  Rig rig([](Exchange& exchange) -> Task<void> {
    if (exchange.path() == "/throws") throw std::runtime_error("oops");
    co_return;
  });
  auto client = rig.connect();
  for (auto path : {"/silent", "/throws"}) {
    auto answer = client.ask(post("x", "", path));
    EXPECT_EQ(status_of(answer), 500);
    EXPECT_NE(answer.find("\"code\":\"internal_error\""), std::string::npos);
  }
}

TEST(Server, HeadersOfAnswersCantBeSplit) {
  Rig rig([](Exchange& exchange) -> Task<void> {
    Header headers[] = {{"X-A", "b\r\nX-Evil: 1"}, {"X-Fine", "yes"}};
    (void)co_await exchange.respond(200, "text/plain", headers, "");
  });
  auto answer = rig.connect().ask(post(""));
  EXPECT_EQ(answer.find("Evil"), std::string::npos);
  EXPECT_NE(answer.find("X-Fine: yes"), std::string::npos);
}

TEST(Server, ASlowReaderGetsAllOfALargeAnswer) {
  std::string body(25u << 20, 'x');
  for (std::size_t i = 0; i < body.size(); i += 4096) body[i] = static_cast<char>('a' + i / 4096 % 26);
  Rig rig([&body](Exchange& exchange) -> Task<void> {
    std::string_view whole = body;
    if (exchange.path() == "/stream") {
      (void)co_await exchange.start(200, "text/plain", {}, whole.substr(0, 100));
      (void)co_await exchange.write(whole.substr(100));
      (void)co_await exchange.finish();
    } else {
      (void)co_await exchange.respond(200, "text/plain", {}, whole);
    }
  });
  RawClient client(rig.server->port(), 8192);
  EXPECT_TRUE(ends_with(client.ask(post("")), "\r\n\r\n" + body));
  auto streamed = client.ask(post("", "", "/stream"));
  EXPECT_TRUE(ends_with(streamed, body.substr(100) + "\r\n0\r\n\r\n"));
}

TEST(Server, AReaderThatStopsIsCutOff) {
  std::string body(25u << 20, 'x');
  std::promise<bool> sent;
  ServerLimits limits;
  limits.write_timeout = seconds{1};
  Rig rig(
      [&](Exchange& exchange) -> Task<void> {
        auto result = co_await exchange.respond(200, "text/plain", {}, body);
        sent.set_value(result.has_value());
      },
      limits);
  RawClient client(rig.server->port(), 8192);
  ASSERT_TRUE(client.send(post("")));
  EXPECT_FALSE(sent.get_future().get());
}

TEST(Server, ManyIdleConnectionsAreCheap) {
  constexpr int kMany = 2000;
  rlimit most{8192, 8192};
  ::setrlimit(RLIMIT_NOFILE, &most);
  Rig rig(echo);
  auto resident = [] {
    std::ifstream in("/proc/self/statm");
    std::size_t pages = 0;
    in >> pages >> pages;
    return pages * 4096;
  };
  {
    auto warm = rig.connect();
    EXPECT_FALSE(warm.ask(post("x")).empty());
  }
  std::size_t before = resident();
  std::vector<RawClient> clients;
  for (int i = 0; i < kMany; ++i) {
    clients.push_back(rig.connect());
    ASSERT_FALSE(clients.back().ask(post("x")).empty());
  }
  EXPECT_EQ(rig.server->connections(), static_cast<std::size_t>(kMany));
  std::size_t each = (resident() - before) / kMany;
  RecordProperty("bytes_per_idle_connection", static_cast<int>(each));
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  EXPECT_LT(each, 4096U);
#endif
  EXPECT_FALSE(clients.front().ask(post("still there")).empty());
}

TEST(Server, RefusesConnectionsBeyondTheLimit) {
  ServerLimits limits;
  limits.connections = 1;
  Rig rig(echo, limits);
  auto first = rig.connect();
  EXPECT_EQ(status_of(first.ask(post("x"))), 200);
  auto second = rig.connect();
  EXPECT_EQ(status_of(second.answer()), 503);
}

TEST(Server, StopLetsRunningRequestsFinish) {
  std::promise<void> entered;
  std::optional<Rig> rig;
  Worker* worker = nullptr;
  Cancellation* seen = nullptr;
  rig.emplace([&](Exchange& exchange) -> Task<void> {
    Call call = make_call(*worker);
    Worker::Watched watched(*worker, call);
    seen = &call.cancellation;
    entered.set_value();
    for (int i = 0; i < 3; ++i) (void)co_await exchange.write(""); // not a stream: refused, harmless
    (void)co_await exchange.respond(200, "text/plain", {}, "done");
  });
  worker = &rig->worker;
  auto client = rig->connect(), idle = rig->connect();
  auto answer = client.ask(post("x"));
  EXPECT_TRUE(ends_with(answer, "done"));
  rig->stop(seconds{5}); // idle connections end at once: no waiting for the grace
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(idle.ended());
}

TEST(Server, ListensOnUnixSocketsForTheOwnerOnly) {
  std::string path = std::filesystem::temp_directory_path() / ("intertie-net-" + std::to_string(::getpid()) + ".sock");
  Rig rig(echo);
  SystemClock clock;
  {
    Worker other(clock);
    Server server(other, {}, echo);
    ASSERT_TRUE(server.listen_unix(path));
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
    Server second(other, {}, echo);
    auto refused = second.listen_unix(path);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("another program"), std::string::npos);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  std::ofstream(path) << "a file";
  Worker third(clock);
  Server server(third, {}, echo);
  EXPECT_FALSE(server.listen_unix(path));
  std::filesystem::remove(path);
}

TEST(Server, SaysWhoHasThePort) {
  Rig rig(echo);
  SystemClock clock;
  Worker worker(clock);
  Server server(worker, {}, echo);
  auto taken = server.listen_tcp("127.0.0.1", rig.server->port(), false);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind, FailureKind::Unavailable);
  EXPECT_NE(taken.error().message.find("(pid " + std::to_string(::getpid())), std::string::npos)
      << taken.error().message;
  EXPECT_FALSE(server.listen_tcp("not-an-address", 0, false));
  EXPECT_FALSE(server.listen_fd(0));
}
} // namespace
} // namespace intertie::net
