#include <gtest/gtest.h>

#include "net/client.hpp"
#include "net/http_parse.hpp"

namespace intertie::net {
namespace {
int refused_with(std::string_view head) {
  HeadScan scan;
  auto state = scan.scan(head);
  if (state == HeadScan::State::Bad) return 400;
  if (state == HeadScan::State::More) return -1;
  RequestHead out;
  auto refusal = parse_request(head.substr(0, scan.end()), 96, out);
  return refusal ? refusal->status : 0;
}

TEST(Parse, RefusesSmugglingShapes) {
  struct {
    int status;
    std::string_view head;
  } table[] = {
      {0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {0, "GET / HTTP/1.0\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"},
      {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
      {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"},
      {501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"},
      {400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n"},
      {400, "GET / HTTP/1.1\nHost: a\n\n"},
      {400, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
      {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"},
      {400, std::string_view("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 38)},
      {400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01z\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"},
      {400, "GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET evil HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {0, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"},
      {400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
      {505, "PRI * HTTP/2.0\r\n\r\n"},
      {417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n"},
  };
  for (const auto& row : table) EXPECT_EQ(refused_with(row.head), row.status) << row.head;
}

TEST(Parse, FindsTheEndOfAHeadCutAnywhere) {
  std::string head = "GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n";
  for (std::size_t cut = 0; cut < head.size(); ++cut) {
    HeadScan scan;
    EXPECT_EQ(scan.scan(std::string_view(head).substr(0, cut)), HeadScan::State::More) << cut;
    EXPECT_EQ(scan.scan(head + "more"), HeadScan::State::Done) << cut;
    EXPECT_EQ(scan.end(), head.size());
  }
}

TEST(Parse, ReadsRequestsAndReplies) {
  RequestHead request;
  EXPECT_FALSE(
      parse_request("POST /v1/x?y=1 HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 12\r\nConnection: close\r\n"
                    "Content-Encoding: gzip\r\nOrigin: null\r\n\r\n",
                    96, request));
  EXPECT_EQ(request.path, "/v1/x");
  EXPECT_EQ(request.query, "y=1");
  EXPECT_EQ(request.length, 12U);
  EXPECT_FALSE(request.keep_alive);
  EXPECT_EQ(request.coding, Coding::Gzip);
  EXPECT_EQ(request.headers.size(), 5U);
  ReplyHead reply;
  EXPECT_TRUE(parse_reply(
      "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: Chunked\r\n\r\n",
      reply));
  EXPECT_TRUE(reply.event_stream && reply.chunked && reply.keep_alive);
  EXPECT_FALSE(parse_reply("HTTP/1.1 20x OK\r\n\r\n", reply));
  EXPECT_EQ(find_header("HTTP/1.1 200 OK\r\nA: b\r\nRetry-After:  7 \r\n\r\n", "retry-after"), "7");
  EXPECT_EQ(find_header("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "OK"), "");
}

TEST(Chunks, AnyCutGivesTheSameBody) {
  std::string raw = "4\r\nWiki\r\n6;ext=\"1\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nTrailer: x\r\n\r\nNEXT";
  for (std::size_t first = 0; first < raw.size(); ++first)
    for (std::size_t second = first; second < raw.size(); second += 3) {
      ChunkDecoder decoder;
      std::string body;
      std::size_t consumed = 0;
      for (auto [from, to] : {std::pair{std::size_t{0}, first}, {first, second}, {second, raw.size()}}) {
        std::string piece = raw.substr(from, to - from);
        auto step = decoder.decode(piece.data(), piece.size(), piece.data());
        body += piece.substr(0, step.produced);
        consumed += step.consumed;
      }
      EXPECT_TRUE(decoder.done());
      EXPECT_EQ(body, "Wikipedia in \r\n\r\nchunks.");
      EXPECT_EQ(raw.substr(consumed), "NEXT");
    }
}

TEST(Chunks, RefusesWhatIsNoChunk) {
  for (std::string raw : {"x\r\n", "\r\n", "4\nWiki\n", "4\r\nWikiX", "4\r\nWiki\rX", "1234567890123456\r\n", "-1\r\n",
                          "0x4\r\n", "0\r\nA: b\n\r\n", "4 \n"}) {
    ChunkDecoder decoder;
    std::string copy = raw;
    decoder.decode(copy.data(), copy.size(), copy.data());
    EXPECT_TRUE(decoder.bad()) << raw;
  }
}

TEST(Origins, OnlyLocalPagesAndApps) {
  for (auto host : {"localhost", "localhost:4683", "LOCALHOST", "a.localhost:1", "127.0.0.1:80", "[::1]:80", "10.0.0.4",
                    "localhost."})
    EXPECT_TRUE(host_allowed(host)) << host;
  for (auto host :
       {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "localhost:x", "[::1", ".localhost"})
    EXPECT_FALSE(host_allowed(host)) << host;
  for (auto origin : {"", "null", "http://localhost", "http://localhost:3000", "https://127.0.0.1:1", "http://[::1]:5",
                      "app://x", "file://", "tauri://localhost", "vscode-webview://abc"})
    EXPECT_TRUE(origin_allowed(origin)) << origin;
  for (auto origin : {"http://evil.example", "https://localhost.evil.example", "http://127.0.0.1.evil.example",
                      "chrome://x", "http://localhost@evil.example", "http://"})
    EXPECT_FALSE(origin_allowed(origin)) << origin;
}

TEST(Urls, AreReadOrRefusedWithTheReason) {
  auto url = parse_url("https://API.example.com/v1/");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->endpoint.transport, Endpoint::Transport::Tls);
  EXPECT_EQ(url->endpoint.host, "api.example.com");
  EXPECT_EQ(url->endpoint.port, 443);
  EXPECT_EQ(url->path, "/v1");
  EXPECT_EQ(url->endpoint.host_header(), "api.example.com");
  EXPECT_EQ(parse_url("http://[::1]:8080")->endpoint.host_header(), "[::1]:8080");
  EXPECT_EQ(parse_url("http://10.0.0.1:80/x/y")->endpoint.host_header(), "10.0.0.1");
  auto unix_url = parse_url("unix:/run/e.sock:/v1");
  ASSERT_TRUE(unix_url);
  EXPECT_EQ(unix_url->endpoint.host, "/run/e.sock");
  EXPECT_EQ(unix_url->path, "/v1");
  EXPECT_EQ(unix_url->endpoint.host_header(), "localhost");
  for (auto bad : {"", "localhost:80", "ftp://x", "http://", "http://a b", "http://user:secret@host/", "http://host:0",
                   "http://host:70000", "http://host:", "http://[::1", "http://[zz]/", "http://ho_st\r\nX: y",
                   "http://host/?q", "unix:relative", "http://a/#f"})
    EXPECT_FALSE(parse_url(bad)) << bad;
  EXPECT_EQ(parse_url("http://user:secret@host/").error().message.find("secret"), std::string::npos);
}

TEST(Proxies, ComeFromTheEnvironmentButNeverForLoopback) {
  ::setenv("HTTPS_PROXY", "http://proxy:3128", 1);
  ::setenv("NO_PROXY", "internal.example,.corp, 10.0.0.1:80", 1);
  EXPECT_EQ(proxy_from_environment("https", "api.example.com"), "http://proxy:3128");
  EXPECT_EQ(proxy_from_environment("http", "api.example.com"), "");
  for (auto host : {"localhost", "127.0.0.1", "::1", "internal.example", "a.internal.example", "x.corp", "10.0.0.1"})
    EXPECT_EQ(proxy_from_environment("https", host), "") << host;
  EXPECT_NE(proxy_from_environment("https", "notinternal.example"), "");
  ::setenv("NO_PROXY", "*", 1);
  EXPECT_EQ(proxy_from_environment("https", "api.example.com"), "");
  ::unsetenv("HTTPS_PROXY");
  ::unsetenv("NO_PROXY");
}
} // namespace
} // namespace intertie::net
