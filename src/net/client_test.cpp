#include <filesystem>
#include <latch>

#include "core/log.hpp"
#include "net/imposter.hpp"
#include "net/rig_test.hpp"

namespace intertie::net {
namespace {
using std::chrono::steady_clock;

struct Got {
  int status = 0;
  std::string body, type, retry_after;
  std::optional<Failure> failure;
  bool event_stream = false;
  std::size_t pieces = 0;
};
const std::string kHead = "POST /v1/chat HTTP/1.1\r\nHost: upstream\r\nContent-Type: application/json\r\n";

struct How {
  std::string head = kHead;
  std::string body = R"({"model":"m"})";
  Timeouts timeouts{};
  bool fresh = false;
  bool whole = true;
  milliseconds deadline = seconds{20};
};

Task<Got> ask(Client& client, Worker& worker, Endpoint endpoint, How how) {
  Got got;
  Call call = make_call(worker, how.deadline);
  Worker::Watched watched(worker, call);
  std::string_view body[] = {std::string_view(how.body).substr(0, how.body.size() / 2),
                             std::string_view(how.body).substr(how.body.size() / 2)};
  Header headers[] = {{"X-Extra", "yes"}};
  Request request{how.head, headers, body, how.fresh};
  auto reply = co_await client.send(endpoint, request, call, how.timeouts);
  if (!reply) {
    got.failure = reply.error();
    co_return got;
  }
  got.status = reply->status();
  got.type = reply->header("Content-TYPE");
  got.retry_after = reply->header("retry-after");
  got.event_stream = reply->event_stream();
  if (how.whole) {
    auto all = co_await reply->read_all(64u << 20);
    if (all) got.body = *all;
    else got.failure = all.error();
    co_return got;
  }
  for (;;) {
    auto piece = co_await reply->read();
    if (!piece) got.failure = piece.error();
    if (!piece || piece->empty()) co_return got;
    got.body += *piece;
    ++got.pieces;
  }
}

Got ask(Rig& rig, const Endpoint& endpoint, How how = {}) {
  return rig.run<Got>([&](Client& client, Worker& worker) { return ask(client, worker, endpoint, how); });
}

TEST(Client, AsksAndReusesTheConnection) {
  Imposter imposter;
  imposter.when("", Script::json(R"({"ok":true})"));
  Rig rig;
  for (int i = 0; i < 3; ++i) {
    auto got = ask(rig, imposter.endpoint());
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.body, R"({"ok":true})");
    EXPECT_EQ(got.type, "application/json");
  }
  auto seen = imposter.seen();
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].head, kHead + "X-Extra: yes\r\nContent-Length: 13\r\n\r\n");
  EXPECT_EQ(seen[0].body, R"({"model":"m"})");
  EXPECT_EQ(imposter.connections(), 1U);
  How fresh;
  fresh.fresh = true;
  EXPECT_EQ(ask(rig, imposter.endpoint(), fresh).status, 200);
  EXPECT_EQ(imposter.connections(), 2U);
}

TEST(Client, ReadsEveryFraming) {
  Imposter imposter;
  Rig rig;
  std::string large(300'000, 'q');
  for (auto framing : {Script::Framing::Length, Script::Framing::Chunked, Script::Framing::UntilClose})
    for (bool whole : {true, false}) {
      Script script = Script::json("");
      script.framing = framing;
      script.pieces = {"one ", "two ", large, "end"};
      imposter.when("", script);
      How how;
      how.whole = whole;
      auto got = ask(rig, imposter.endpoint(), how);
      EXPECT_FALSE(got.failure) << got.failure->message;
      EXPECT_TRUE(got.body == "one two " + large + "end");
    }
}

constexpr int kGzipWindow = 16 + MAX_WBITS;

Script packed(std::string body) {
  Script script = Script::json(std::move(body));
  script.headers = {{"Content-Encoding", "gzip"}};
  return script;
}

// Unpacked in steps of 256 KiB: the last bytes of what zlib still holds may not be forgotten when a step ends.
TEST(Client, UnpacksAnswersOfAnyLength) {
  Imposter imposter;
  Rig rig;
  for (std::size_t over : {0U, 1U, 2U, 100U, 257U, 258U, 259U, 600U, 1500U, 4000U, 300'000U})
    for (bool whole : {true, false}) {
      std::string text(256 * 1024 + over, 'a');
      imposter.when("", packed(deflated(text, kGzipWindow)));
      How how;
      how.whole = whole;
      auto got = ask(rig, imposter.endpoint(), how);
      EXPECT_FALSE(got.failure) << over << ": " << got.failure->message;
      EXPECT_TRUE(got.body == text) << over << ": " << got.body.size();
    }
}

TEST(Client, CutsOfPackedAnswersAreSeen) {
  Imposter imposter;
  Rig rig;
  std::string all = deflated(R"({"ok":true})", kGzipWindow);
  for (std::size_t size = 1; size < all.size(); ++size) { // with a Content-Length that fits the cut
    imposter.when("", packed(all.substr(0, size)));
    auto got = ask(rig, imposter.endpoint());
    ASSERT_TRUE(got.failure) << size;
    EXPECT_NE(got.failure->message.find("compressed answer"), std::string::npos) << got.failure->message;
  }
  imposter.when("", packed(""));
  EXPECT_FALSE(ask(rig, imposter.endpoint()).failure) << "nothing, packed, is nothing";
  imposter.when("", packed(all));
  EXPECT_EQ(ask(rig, imposter.endpoint()).body, R"({"ok":true})");
}

TEST(Client, ReadsAStreamDrippedByteByByte) {
  Imposter imposter;
  Script script = Script::events({"data: a\n\n", "data: b\n\n", "data: [DONE]\n\n"});
  script.drip_bytes = 1;
  imposter.when("", script);
  Rig rig;
  How how;
  how.whole = false;
  auto got = ask(rig, imposter.endpoint(), how);
  EXPECT_TRUE(got.event_stream);
  EXPECT_EQ(got.body, "data: a\n\ndata: b\n\ndata: [DONE]\n\n");
  EXPECT_EQ(ask(rig, imposter.endpoint(), how).body, got.body);
  EXPECT_EQ(imposter.connections(), 1U);
}

TEST(Client, RelaysErrorAnswersAsAnswers) {
  Imposter imposter;
  Script limited = Script::json(R"({"error":"slow down"})", 429);
  limited.headers = {{"Retry-After", "7"}};
  imposter.when("limit", limited);
  imposter.when("html", Script::html_error(502));
  Rig rig;
  How how;
  how.body = "limit";
  auto got = ask(rig, imposter.endpoint(), how);
  EXPECT_EQ(got.status, 429);
  EXPECT_EQ(got.retry_after, "7");
  how.body = "html";
  EXPECT_EQ(ask(rig, imposter.endpoint(), how).type, "text/html");
}

TEST(Client, TellsFailuresApart) {
  using Fails = Script::Fails;
  Imposter imposter;
  Rig rig;
  struct {
    Script script;
    FailureKind kind;
    Fault fault;
  } table[] = {
      {Script::failing(Fails::Reset), FailureKind::UpstreamBroken, Fault::Transient},
      {Script::failing(Fails::Reset, 5), FailureKind::UpstreamBroken, Fault::BrokenAnswer},
      {Script::failing(Fails::Cut, 5), FailureKind::UpstreamBroken, Fault::BrokenAnswer},
      {Script::failing(Fails::WrongLength), FailureKind::UpstreamBroken, Fault::BrokenAnswer},
      {Script::failing(Fails::Garbage), FailureKind::UpstreamBroken, Fault::BrokenAnswer},
      {Script::failing(Fails::StallBeforeHead), FailureKind::Timeout, Fault::Transient},
      {Script::failing(Fails::StallInBody, 5), FailureKind::Timeout, Fault::Transient},
  };
  How how;
  how.timeouts.first_byte = how.timeouts.idle = milliseconds{500};
  for (const auto& row : table) {
    imposter.when("", row.script);
    auto begun = steady_clock::now();
    auto got = ask(rig, imposter.endpoint(), how);
    ASSERT_TRUE(got.failure) << static_cast<int>(row.script.fails);
    EXPECT_EQ(got.failure->kind, row.kind) << got.failure->message;
    EXPECT_EQ(got.failure->fault, row.fault);
    EXPECT_LT(steady_clock::now() - begun, seconds{3});
  }
  Endpoint nobody = imposter.endpoint();
  nobody.port = closed_port();
  auto refused = ask(rig, nobody);
  ASSERT_TRUE(refused.failure);
  EXPECT_EQ(refused.failure->kind, FailureKind::Unavailable);
  EXPECT_NE(refused.failure->message.find("nothing listens"), std::string::npos);
  Endpoint nowhere = imposter.endpoint();
  nowhere.host = "does-not-exist.invalid";
  EXPECT_EQ(ask(rig, nowhere).failure->kind, FailureKind::Unavailable);
}

TEST(Client, CutsAtEveryByteAreSeen) {
  Imposter imposter;
  Rig rig;
  Script whole = Script::events({"data: x\n\n"});
  for (std::size_t after = 0; after < 9; ++after) {
    Script cut = whole;
    cut.fails = Script::Fails::Cut;
    cut.after = after;
    imposter.when("", cut);
    How how;
    how.whole = false;
    how.timeouts.idle = milliseconds{300}; // over between two sweeps: an end that is there is still no silence
    auto got = ask(rig, imposter.endpoint(), how);
    ASSERT_TRUE(got.failure) << after;
    EXPECT_EQ(got.failure->kind, FailureKind::UpstreamBroken) << got.failure->message;
  }
}

TEST(Client, ReplacesADeadPooledConnectionOnce) {
  Imposter imposter;
  Script once = Script::json("{}");
  once.close_silently = true;
  imposter.when("", once);
  Rig rig;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(rig, imposter.endpoint()).status, 200) << i;
  EXPECT_EQ(imposter.seen().size(), 20U);
}

TEST(Client, TheDeadlineEndsACall) {
  Imposter imposter;
  imposter.when("", Script::failing(Script::Fails::StallBeforeHead));
  Rig rig;
  How how;
  how.deadline = milliseconds{300};
  auto begun = steady_clock::now();
  auto got = ask(rig, imposter.endpoint(), how);
  ASSERT_TRUE(got.failure);
  EXPECT_EQ(got.failure->kind, FailureKind::Timeout);
  EXPECT_LT(steady_clock::now() - begun, seconds{2});
}

TEST(Client, BoundsWhatItReadsAtOnce) {
  Imposter imposter;
  Script script = Script::json(std::string(5000, 'x'));
  imposter.when("", script);
  Rig rig;
  auto failed = rig.run<bool>([&](Client& client, Worker& worker) -> Task<bool> {
    Call call = make_call(worker);
    auto reply = co_await client.send(imposter.endpoint(), {kHead}, call, {});
    if (!reply) co_return false;
    auto all = co_await reply->read_all(4000);
    co_return !all && all.error().kind == FailureKind::UpstreamBroken;
  });
  EXPECT_TRUE(failed);
}

TEST(Client, SendsLargeBodiesInManyPieces) {
  Imposter imposter;
  imposter.when("", Script::json("{}"));
  Rig rig;
  std::string piece(1u << 20, 'p');
  auto status = rig.run<int>([&](Client& client, Worker& worker) -> Task<int> {
    Call call = make_call(worker);
    std::vector<std::string_view> pieces(25, piece);
    auto reply = co_await client.send(imposter.endpoint(), {kHead, {}, pieces}, call, {});
    co_return reply ? reply->status() : 0;
  });
  EXPECT_EQ(status, 200);
  EXPECT_EQ(imposter.seen().at(0).body.size(), 25u << 20);
}

TEST(Client, SpeaksOverUnixSockets) {
  std::string path =
      std::filesystem::temp_directory_path() / ("intertie-imposter-" + std::to_string(::getpid()) + ".sock");
  Imposter imposter(path);
  imposter.when("", Script::json("{}"));
  Rig rig;
  EXPECT_EQ(ask(rig, imposter.endpoint()).status, 200);
  EXPECT_EQ(ask(rig, imposter.endpoint()).status, 200);
  EXPECT_EQ(imposter.connections(), 1U);
  Endpoint nobody = imposter.endpoint();
  nobody.host += ".missing";
  EXPECT_EQ(ask(rig, nobody).failure->kind, FailureKind::Unavailable);
}

TEST(Tls, TrustsOnlyTheNamedAuthorityAndTheRightName) {
  TestAuthority authority, stranger;
  Imposter imposter(authority, "127.0.0.1"), other_name(authority, "elsewhere.example");
  std::string large(400'000, 'z');
  imposter.when("", Script::json(large));
  Rig rig;
  Endpoint endpoint = imposter.endpoint();
  endpoint.ca_file = authority.ca_file();
  How big;
  big.body = std::string(2'000'000, 'b');
  for (int i = 0; i < 3; ++i) {
    auto got = ask(rig, endpoint, i == 1 ? big : How{});
    ASSERT_FALSE(got.failure) << got.failure->message;
    EXPECT_TRUE(got.body == large);
  }
  EXPECT_EQ(imposter.connections(), 1U);
  for (const std::string& file : {stranger.ca_file(), std::string{}}) {
    Endpoint wrong = endpoint;
    wrong.ca_file = file;
    auto got = ask(rig, wrong);
    ASSERT_TRUE(got.failure);
    EXPECT_EQ(got.failure->kind, FailureKind::Unavailable);
    EXPECT_NE(got.failure->message.find("not trusted"), std::string::npos) << got.failure->message;
  }
  Endpoint wrong_name = other_name.endpoint();
  wrong_name.ca_file = authority.ca_file();
  auto got = ask(rig, wrong_name);
  ASSERT_TRUE(got.failure);
  EXPECT_NE(got.failure->message.find("made for"), std::string::npos) << got.failure->message;
  Endpoint no_file = endpoint;
  no_file.ca_file = "/does/not/exist.pem";
  EXPECT_TRUE(ask(rig, no_file).failure);
  Imposter plain;
  Endpoint no_tls = plain.endpoint();
  no_tls.transport = Endpoint::Transport::Tls;
  How hurried;
  hurried.timeouts.connect = milliseconds{300};
  EXPECT_TRUE(ask(rig, no_tls, hurried).failure);
}

TEST(Proxy, TunnelsTlsAndForwardsPlain) {
  TestAuthority authority;
  Imposter target(authority, "127.0.0.1"), proxy;
  target.when("", Script::json(R"({"through":"the tunnel"})"));
  proxy.when("", Script::json(R"({"by":"the proxy"})"));
  proxy.tunnel_to(target.port());
  Rig rig;
  Endpoint endpoint = target.endpoint();
  endpoint.ca_file = authority.ca_file();
  endpoint.proxy = proxy.url();
  auto got = ask(rig, endpoint);
  ASSERT_FALSE(got.failure) << got.failure->message;
  EXPECT_EQ(got.body, R"({"through":"the tunnel"})");
  EXPECT_EQ(proxy.seen().at(0).path(), "127.0.0.1:" + std::to_string(target.port()));
  Endpoint plain;
  plain.host = "some.example";
  plain.port = 80;
  plain.proxy = proxy.url();
  EXPECT_EQ(ask(rig, plain).body, R"({"by":"the proxy"})");
  EXPECT_EQ(proxy.seen().back().path(), "http://some.example/v1/chat");
  proxy.tunnel_to(target.port(), 403);
  How fresh;
  fresh.fresh = true;
  auto refused = ask(rig, endpoint, fresh);
  ASSERT_TRUE(refused.failure);
  EXPECT_NE(refused.failure->message.find("403"), std::string::npos);
}

// The whole path: client, Server, Client, Imposter.
Task<void> relay(Exchange& exchange, Client& client, Worker& worker, const Endpoint& endpoint, std::latch* done) {
  Call call = make_call(worker);
  Worker::Watched watched(worker, call);
  exchange.watch(call.cancellation);
  std::string_view body[] = {exchange.body()};
  auto reply = co_await client.send(endpoint, {kHead, {}, body}, call, {});
  if (!reply) {
    (void)co_await exchange.respond(502, "text/plain", {}, reply.error().message);
  } else {
    for (bool first = true;; first = false) {
      auto piece = co_await reply->read();
      if (!piece || piece->empty()) break;
      auto sent = first ? co_await exchange.start(200, reply->header("content-type"), {}, *piece)
                        : co_await exchange.write(*piece);
      if (!sent) break;
    }
    if (!call.cancellation.cancelled()) (void)co_await exchange.finish();
  }
  if (done != nullptr) done->count_down();
}

class ProxyRig {
 public:
  explicit ProxyRig(Endpoint endpoint, std::latch* done = nullptr)
      : rig([this, endpoint, done](Exchange& exchange) {
          return relay(exchange, *rig.client, rig.worker, endpoint, done);
        }) {}
  Rig rig;
};

TEST(Relay, StreamsThrough) {
  Imposter imposter;
  imposter.when("", Script::events({"data: a\n\n", "data: b\n\n"}, milliseconds{5}));
  ProxyRig proxy(imposter.endpoint());
  auto client = proxy.rig.connect();
  for (int i = 0; i < 3; ++i) {
    auto answer = client.ask(post("{}"));
    EXPECT_NE(answer.find("data: a\n\n"), std::string::npos);
    EXPECT_TRUE(answer.ends_with("data: b\n\n\r\n0\r\n\r\n"));
  }
  EXPECT_EQ(imposter.connections(), 1U);
}

TEST(Relay, AClientThatHangsUpStopsTheUpstream) {
  for (auto how : {Script::failing(Script::Fails::StallBeforeHead),
                   Script::events(std::vector<std::string>(1000, "data: x\n\n"), milliseconds{20})}) {
    Imposter imposter;
    imposter.when("", how);
    std::latch done(1);
    ProxyRig proxy(imposter.endpoint(), &done);
    auto client = proxy.rig.connect();
    ASSERT_TRUE(client.send(post("{}") + post("sent ahead")));
    ASSERT_TRUE(imposter.wait_seen(1, seconds{5}));
    if (!how.pieces.empty()) ASSERT_TRUE(client.read_some());
    auto begun = steady_clock::now();
    client.close();
    EXPECT_TRUE(imposter.wait_gone(1, seconds{5}));
    EXPECT_LT(steady_clock::now() - begun, milliseconds{100});
    done.wait();
  }
}

TEST(Relay, StopCancelsWhatOutlivesItsGrace) {
  Imposter imposter;
  imposter.when("", Script::failing(Script::Fails::StallBeforeHead));
  ProxyRig proxy(imposter.endpoint());
  auto client = proxy.rig.connect();
  ASSERT_TRUE(client.send(post("{}")));
  ASSERT_TRUE(imposter.wait_seen(1, seconds{5}));
  auto begun = steady_clock::now();
  proxy.rig.stop(milliseconds{300});
  EXPECT_LT(steady_clock::now() - begun, seconds{2});
  EXPECT_TRUE(imposter.wait_gone(1, seconds{1}));
}
struct Pause {
  bool waited = false;
  FailureKind kind{};
  milliseconds took{0};
};
Task<Pause> pause(Client& client, Worker& worker, milliseconds time, milliseconds deadline) {
  Call call = make_call(worker, deadline);
  Worker::Watched watched(worker, call);
  auto start = steady_clock::now();
  auto waited = co_await client.pause(time, call);
  auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
  co_return Pause{waited.has_value(), waited ? FailureKind{} : waited.error().kind, took};
}
TEST(Client, PausesForAsLongAsTheCallLives) {
  Rig rig;
  auto whole = rig.run<Pause>(
      [](Client& client, Worker& worker) { return pause(client, worker, milliseconds{30}, seconds{20}); });
  EXPECT_TRUE(whole.waited);
  EXPECT_GE(whole.took, milliseconds{30});
  auto cut = rig.run<Pause>(
      [](Client& client, Worker& worker) { return pause(client, worker, seconds{20}, milliseconds{20}); });
  EXPECT_FALSE(cut.waited);
  EXPECT_EQ(cut.kind, FailureKind::Timeout);
  EXPECT_LT(cut.took, seconds{10});
}
} // namespace
} // namespace intertie::net
