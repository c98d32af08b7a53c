#include "local/child_http.hpp"

#include <array>
#include <charconv>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "core/text.hpp"

namespace intertie::local {
namespace {
using Socket = asio::basic_stream_socket<asio::local::stream_protocol, Executor>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable_t<Executor>{});
constexpr std::size_t kMost = 4u << 20;

std::unexpected<Failure> failed(FailureKind kind, std::string what) {
  return fail(kind, Fault::LocalResource, std::move(what));
}

// "Transfer-Encoding: chunked" undone; nothing when its framing is broken.
std::optional<std::string> unchunk(std::string_view in) {
  std::string out;
  for (;;) {
    auto line = in.find("\r\n");
    if (line == std::string_view::npos) return std::nullopt;
    std::size_t size = 0;
    auto [end, error] = std::from_chars(in.data(), in.data() + line, size, 16);
    if (error != std::errc{}) return std::nullopt;
    in.remove_prefix(line + 2);
    if (size == 0) return out;
    if (size > in.size() || in.size() - size < 2) return std::nullopt;
    out += in.substr(0, size);
    in.remove_prefix(size + 2);
  }
}

Result<ChildAnswer> parse(std::string_view text) {
  auto head_end = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.") || text.size() < 12 || head_end == std::string_view::npos)
    return failed(FailureKind::UpstreamBroken, "the engine's answer is not HTTP");
  ChildAnswer answer;
  std::from_chars(text.data() + 9, text.data() + 12, answer.status);
  auto head = text::lower(text.substr(0, head_end));
  auto body = text.substr(head_end + 4);
  if (head.find("\r\ntransfer-encoding: chunked") == std::string::npos) {
    answer.body = body;
    return answer;
  }
  auto whole = unchunk(body);
  if (!whole) return failed(FailureKind::UpstreamBroken, "the engine's answer was cut");
  answer.body = *std::move(whole);
  return answer;
}
} // namespace

Task<Result<ChildAnswer>> ask_child(std::string path_to_socket, Secret key, std::string path, std::string body,
                                    milliseconds patience, std::shared_ptr<Cut> cut) {
  auto executor = co_await asio::this_coro::executor;
  auto socket = std::make_shared<Socket>(executor);
  Timer timer(executor, patience);
  auto late = std::make_shared<bool>(false);
  timer.async_wait([socket, late](const boost::system::error_code& error) {
    if (error) return;
    *late = true;
    boost::system::error_code ignored;
    socket->close(ignored);
  });
  if (cut)
    cut->now = [weak = std::weak_ptr(socket)] {
      boost::system::error_code ignored;
      if (auto alive = weak.lock()) alive->close(ignored);
    };
  auto trouble = [&](std::string_view doing, const boost::system::error_code& error) -> Result<ChildAnswer> {
    if (*late) return failed(FailureKind::Timeout, fmt::format("the engine was silent for {} ms", patience.count()));
    return failed(FailureKind::Unavailable, fmt::format("{} the engine failed: {}", doing, error.message()));
  };
  auto [refused] = co_await socket->async_connect(asio::local::stream_protocol::endpoint(path_to_socket), kTuple);
  if (refused) co_return trouble("connecting to", refused);
  auto request = fmt::format(
      "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n"
      "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
      body.empty() ? "GET" : "POST", path, key.reveal(), body.size(), body);
  auto [unsent, sent] = co_await asio::async_write(*socket, asio::buffer(request), kTuple);
  explicit_bzero(request.data(), request.size());
  if (unsent) co_return trouble("asking", unsent);
  std::string text;
  for (;;) {
    auto had = text.size();
    text.resize(had + 16 * 1024);
    auto [end, got] = co_await socket->async_read_some(asio::buffer(text.data() + had, text.size() - had), kTuple);
    text.resize(had + got);
    if (end == asio::error::eof) break;
    if (end) co_return trouble("reading from", end);
    if (text.size() > kMost) co_return failed(FailureKind::UpstreamBroken, "the engine's answer is too large");
  }
  co_return parse(text);
}
} // namespace intertie::local
