#include "net/client.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "net/gzip.hpp"
#include "net/upstream.hpp"

namespace intertie::net {
namespace {
constexpr std::size_t kMostHead = 64 * 1024;
constexpr std::size_t kMostDirectPieces = 8;

std::unexpected<Failure> broken(std::string message) {
  return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer, std::move(message));
}
std::unexpected<Failure> silent(milliseconds allowed) {
  return fail(FailureKind::Timeout, Fault::Transient,
              fmt::format("the upstream was silent for {} ms", allowed.count()));
}
void shut(void* upstream) { static_cast<Upstream*>(upstream)->shutdown(); }

// The request as pieces for one write. Lives while it is sent.
struct Wire {
  std::array<iovec, kMostDirectPieces + 4> pieces;
  std::size_t count = 0;
  std::size_t tail = 0; // the piece that is our own
  void add(std::string_view text) {
    if (!text.empty()) pieces[count++] = piece_of(text);
  }
};
} // namespace

class Reply::Impl {
 public:
  Impl(std::shared_ptr<ClientShared> client_, const Endpoint& endpoint_, Call& call_, const Timeouts& timeouts_)
      : client(std::move(client_)), endpoint(endpoint_), call(call_), timeouts(timeouts_) {}

  Outgoing::Sent put(const Request& request);
  Task<Result<>> send_rest(); // after a put() that was Some
  Task<Result<>> send_tls(const Request& request);
  Task<Result<bool>> read_head(); // false: a pooled connection was dead, nothing came
  Result<std::optional<std::string_view>> poll();
  Task<Wake> wait();
  void woke(Wake wake);
  Task<Result<std::string_view>> read();
  Task<Result<std::string_view>> read_all(std::size_t most);

  std::shared_ptr<ClientShared> client;
  const Endpoint endpoint;
  Call& call;
  const Timeouts timeouts;
  std::unique_ptr<Upstream> upstream;
  bool head_only = false; // we asked with HEAD
  ReplyHead head{};
  std::string raw_head;

 private:
  std::optional<Result<bool>> judge_head();
  Result<std::string_view> take(); // decodes what is in `in_`; empty: needs more, or done_
  enum class Came : std::uint8_t { Bytes, Nothing, End };
  bool must_wait();
  TimePoint deadline(milliseconds allowed) const;
  Result<Came> take_in(Wake wake, milliseconds allowed); // after the wait, if there was one
  Result<std::string_view> inflate(std::string_view piece);
  void finish(bool reusable);

  Outgoing outgoing_;
  Buffer in_; // raw bytes not yet taken: [at_, size)
  std::size_t at_ = 0;
  HeadScan scan_;
  ChunkDecoder chunks_;
  std::uint64_t left_ = 0;
  bool done_ = false;
  bool got_any_ = false;
  std::optional<Wake> wake_; // how the wait before this poll() ended
  std::optional<OnCancel> on_cancel_;
  std::unique_ptr<Inflater> inflater_;
  Buffer plain_;                       // inflated, or all of it
  std::string_view deflated_{};        // input the inflater has not taken yet
  Inflated unpacked_ = Inflated::Done; // what it said last
};

namespace {
// Everything after the fixed head: extra headers, the length, the blank line. Valid until the next call on this thread.
std::string& request_tail(const Request& request) {
  thread_local std::string tail;
  tail.clear();
  for (const Header& header : request.headers)
    tail.append(header.name).append(": ").append(header.value).append("\r\n");
  std::size_t length = 0;
  for (std::string_view piece : request.body) length += piece.size();
  if (length > 0 || request.head.starts_with('P')) { // POST, PUT, PATCH
    fmt::format_int number(length);
    tail.append("Content-Length: ").append(number.data(), number.size()).append("\r\n");
  }
  tail += "\r\n";
  return tail;
}
} // namespace

// One write of head, extra headers and body. A plain request through a proxy names the whole URL.
Outgoing::Sent Reply::Impl::put(const Request& request) {
  Wire wire;
  std::string origin, joined;
  std::string_view head_text = request.head;
  std::size_t blank = head_text.find(' ');
  if (!endpoint.proxy.empty() && blank != head_text.npos) {
    origin = "http://" + endpoint.host_header();
    wire.add(head_text.substr(0, blank + 1));
    wire.add(origin);
    head_text.remove_prefix(blank + 1);
  }
  wire.add(head_text);
  std::size_t ours = wire.count;
  wire.add(request_tail(request));
  if (request.body.size() <= kMostDirectPieces) {
    for (std::string_view piece : request.body) wire.add(piece);
    return outgoing_.begin(upstream->socket, {wire.pieces.data(), wire.count}, origin.empty() ? ours : 0, ours + 1);
  }
  for (std::string_view piece : request.body) joined += piece;
  wire.add(joined);
  return outgoing_.begin(upstream->socket, {wire.pieces.data(), wire.count}, origin.empty() ? ours : 0, wire.count);
}

Task<Result<>> Reply::Impl::send_tls(const Request& request) {
  std::string all(request.head);
  all += request_tail(request);
  for (std::string_view piece : request.body) all += piece;
  std::string_view left = all;
  while (!left.empty()) {
    auto moved = upstream->tls->write(left.data(), left.size());
    left.remove_prefix(moved.bytes);
    if (moved.want == TlsSession::Want::Nothing) continue;
    if (moved.want == TlsSession::Want::End || moved.want == TlsSession::Want::Broken) break; // its answer may say why
    TimePoint deadline = client->worker.now() + timeouts.idle;
    Wake wake = moved.want == TlsSession::Want::Write ? co_await upstream->socket.writable(deadline)
                                                      : co_await upstream->socket.readable(deadline);
    if (call.cancellation.cancelled()) co_return cancelled_failure(call);
    if (wake == Wake::Timeout) co_return silent(timeouts.idle);
  }
  co_return Result<>{};
}

Task<Result<>> Reply::Impl::send_rest() {
  for (auto sent = Outgoing::Sent::Some; sent == Outgoing::Sent::Some;) {
    Wake wake = co_await upstream->socket.writable(client->worker.now() + timeouts.idle);
    if (call.cancellation.cancelled()) co_return cancelled_failure(call);
    if (wake == Wake::Timeout) co_return silent(timeouts.idle);
    sent = outgoing_.more(upstream->socket);
  }
  co_return Result<>{}; // when it broke, read_head() finds out whether an answer says why
}

// Between two chunks silence is normal; anywhere else the missing bytes, or the end, are likely to be there.
bool Reply::Impl::must_wait() {
  bool pausing = !got_any_ || (head.chunked && chunks_.between_chunks());
  if (!(pausing ? upstream->drained() : upstream->dry())) return false;
  if (at_ == in_.size) {
    in_.drop();
    at_ = 0;
  }
  return true;
}

TimePoint Reply::Impl::deadline(milliseconds allowed) const {
  return std::min(client->worker.now() + allowed, call.deadline);
}

// Neither a coroutine nor a wait: both of its callers would pay for one more frame with every piece.
Result<Reply::Impl::Came> Reply::Impl::take_in(Wake wake, milliseconds allowed) {
  if (call.cancellation.cancelled()) return cancelled_failure(call);
  if (wake == Wake::Timeout) return silent(allowed);
  in_.need();
  if (in_.free_size() == 0) in_.grow(in_.capacity() * 2);
  ssize_t got = upstream->receive(in_.free_begin(), in_.free_size());
  if (got > 0) {
    in_.size += static_cast<std::size_t>(got);
    return Came::Bytes;
  }
  if (got == Socket::kWouldBlock) return Came::Nothing;
  if (got == 0 || head.status == 0) return Came::End;
  return broken("the upstream broke the connection in the middle of its answer");
}

Task<Result<bool>> Reply::Impl::read_head() {
  for (;;) {
    Wake wake = Wake::Ready;
    if (must_wait()) wake = co_await upstream->readable(deadline(timeouts.first_byte));
    CO_TRY(Came came, take_in(wake, timeouts.first_byte));
    if (came == Came::Nothing) continue;
    if (came == Came::End) {
      if (!got_any_ && upstream->reused) co_return false;
      if (got_any_) co_return broken("the upstream closed the connection inside the head of its answer");
      co_return fail(FailureKind::UpstreamBroken, Fault::Transient,
                     "the upstream closed the connection without an answer");
    }
    got_any_ = true;
    if (auto verdict = judge_head()) co_return std::move(*verdict);
  }
}

// Nothing: the head is not whole yet.
std::optional<Result<bool>> Reply::Impl::judge_head() {
  for (;;) {
    std::string_view bytes{in_.data() + at_, in_.size - at_};
    auto state = scan_.scan(bytes);
    if (state == HeadScan::State::Bad || bytes.substr(0, 5) != std::string_view("HTTP/").substr(0, bytes.size()))
      return broken("the upstream does not answer in HTTP/1.1: is the URL right?");
    if (state == HeadScan::State::More) {
      if (bytes.size() > kMostHead) return broken("the head of the upstream's answer is too long");
      return std::nullopt;
    }
    std::string_view text = bytes.substr(0, scan_.end());
    ReplyHead parsed;
    if (scan_.end() > kMostHead || !parse_reply(text, parsed) || parsed.status == 101)
      return broken("the head of the upstream's answer is malformed");
    at_ += scan_.end();
    scan_ = {};
    if (parsed.status / 100 == 1) { // 100 Continue, 103 Early Hints
      if (at_ == in_.size) {
        in_.size = at_ = 0;
        return std::nullopt;
      }
      continue;
    }
    head = parsed;
    raw_head.assign(text);
    left_ = head.length.value_or(0);
    if (head.coding != Coding::Identity) {
      if (head.coding == Coding::Unknown)
        return broken("the upstream answered in a Content-Encoding that was not asked for");
      inflater_ = std::make_unique<Inflater>(head.coding);
    }
    if (head_only || head.no_body || (head.length && left_ == 0)) finish(head.length || head.no_body || head_only);
    return true;
  }
}

void Reply::Impl::finish(bool reusable) {
  done_ = true;
  if (!upstream) return;
  auto connection = std::move(upstream);
  bool clean = reusable && head.keep_alive && at_ == in_.size && !call.cancellation.cancelled();
  if (clean && !client->stopping) client->pool.give(endpoint, std::move(connection));
}

Result<std::string_view> Reply::Impl::take() {
  char* begin = in_.data() + at_;
  std::size_t size = in_.size - at_;
  if (size == 0) return std::string_view{};
  if (!head.chunked) {
    if (head.length) size = static_cast<std::size_t>(std::min<std::uint64_t>(size, left_));
    at_ += size;
    left_ -= head.length ? size : 0;
    if (head.length && left_ == 0) finish(true);
    return std::string_view{begin, size};
  }
  auto step = chunks_.decode(begin, size, begin);
  at_ += step.consumed;
  if (chunks_.bad()) return broken("the chunks of the upstream's answer are malformed");
  if (chunks_.done()) finish(true);
  return std::string_view{begin, step.produced};
}

Result<std::string_view> Reply::Impl::inflate(std::string_view piece) {
  constexpr std::size_t kMostAtOnce = 256 * 1024;
  if (!piece.empty()) deflated_ = piece;
  plain_.size = 0;
  unpacked_ = inflater_->feed(deflated_, plain_, kMostAtOnce);
  if (unpacked_ == Inflated::Broken) return broken("the compressed answer of the upstream is damaged");
  return std::string_view{plain_.data(), plain_.size};
}

Result<std::optional<std::string_view>> Reply::Impl::poll() {
  for (;;) {
    if (call.cancellation.cancelled()) {
      upstream.reset();
      return cancelled_failure(call);
    }
    std::string_view piece;
    // TooLarge: there was no room for all of it, even where all input was taken.
    if (inflater_ && (!deflated_.empty() || unpacked_ == Inflated::TooLarge)) {
      TRY(std::string_view plain, inflate({}));
      if (!plain.empty()) return plain;
    }
    if (done_ && inflater_ && unpacked_ == Inflated::More)
      return broken("the compressed answer of the upstream is cut short");
    if (done_) return std::string_view{};
    if (at_ < in_.size) { TRY(piece, take()); }
    if (!piece.empty() && inflater_) { TRY(piece, inflate(piece)); }
    if (!piece.empty()) return piece;
    if (done_) continue;
    if (at_ == in_.size) in_.size = at_ = 0;
    if (!wake_ && must_wait()) return std::nullopt;
    auto came = take_in(std::exchange(wake_, std::nullopt).value_or(Wake::Ready), timeouts.idle);
    if (!came) {
      upstream.reset();
      return std::unexpected(std::move(came).error());
    }
    if (*came != Came::End) continue;
    if (!head.length && !head.chunked) {
      finish(false);
      continue;
    }
    upstream.reset();
    return broken("the upstream closed the connection in the middle of its answer");
  }
}

Task<Wake> Reply::Impl::wait() {
  on_cancel_.emplace(call.cancellation, shut, upstream.get());
  return upstream->readable(deadline(timeouts.idle));
}
void Reply::Impl::woke(Wake wake) {
  on_cancel_.reset();
  wake_ = wake;
}

Task<Result<std::string_view>> Reply::Impl::read() {
  for (;;) {
    CO_TRY(auto bytes, poll());
    if (bytes) co_return *bytes;
    woke(co_await wait());
  }
}

Task<Result<std::string_view>> Reply::Impl::read_all(std::size_t most) {
  auto too_large = [most] {
    return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer,
                fmt::format("the upstream's answer is larger than the {} bytes allowed", most));
  };
  if (head.length && *head.length > most) co_return too_large();
  // The common case: all of it came with the head and stays where it is.
  std::string_view first;
  if (!inflater_ && at_ < in_.size && !call.cancellation.cancelled()) { CO_TRY(first, take()); }
  if (first.empty()) { CO_TRY(first, co_await read()); }
  if (done_ && !inflater_) {
    if (first.size() > most) co_return too_large();
    co_return first;
  }
  Buffer all;
  all.grow(head.length && !inflater_ ? static_cast<std::size_t>(*head.length) : Buffer::kSize);
  for (std::string_view piece = first; !piece.empty();) {
    if (piece.size() > most - all.size) co_return too_large();
    if (piece.size() > all.free_size()) all.grow(std::max(all.capacity() * 2, all.size + piece.size()));
    std::memcpy(all.free_begin(), piece.data(), piece.size());
    all.size += piece.size();
    CO_TRY(piece, co_await read());
  }
  plain_ = std::move(all);
  inflater_.reset();
  co_return std::string_view{plain_.data(), plain_.size};
}

Reply::Reply(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reply::Reply(Reply&&) noexcept = default;
Reply& Reply::operator=(Reply&&) noexcept = default;
Reply::~Reply() = default;
int Reply::status() const { return impl_->head.status; }
std::string_view Reply::header(std::string_view name) const { return find_header(impl_->raw_head, name); }
bool Reply::event_stream() const { return impl_->head.event_stream; }
Task<Result<std::string_view>> Reply::read() { return impl_->read(); }
Result<std::optional<std::string_view>> Reply::poll() { return impl_->poll(); }
Task<Wake> Reply::wait() { return impl_->wait(); }
void Reply::woke(Wake wake) { impl_->woke(wake); }
Task<Result<std::string_view>> Reply::read_all(std::size_t most) { return impl_->read_all(most); }

class Client::Impl {
 public:
  explicit Impl(Worker& worker) : shared(std::make_shared<ClientShared>(worker.core())) {}
  std::shared_ptr<ClientShared> shared;
};

Client::Client(Worker& worker) : impl_(std::make_unique<Impl>(worker)) {}
Client::~Client() { impl_->shared->on_stop(); }

Task<Result<Reply>> Client::send(const Endpoint& endpoint, const Request& request, Call& call,
                                 const Timeouts& timeouts) {
  auto shared = impl_->shared;
  for (bool fresh = request.fresh;; fresh = true) {
    if (call.cancellation.cancelled()) co_return cancelled_failure(call);
    auto reply = std::make_unique<Reply::Impl>(shared, endpoint, call, timeouts);
    reply->head_only = request.head.starts_with("HEAD ");
    if (!fresh) reply->upstream = shared->pool.take(endpoint);
    if (!reply->upstream) {
      auto made = co_await connect_upstream(shared, endpoint, call, timeouts.connect);
      if (!made) co_return std::unexpected(std::move(made).error());
      reply->upstream = std::move(*made);
    }
    OnCancel on_cancel(call.cancellation, shut, reply->upstream.get());
    Result<> sent;
    if (reply->upstream->tls) sent = co_await reply->send_tls(request);
    else if (reply->put(request) == Outgoing::Sent::Some) sent = co_await reply->send_rest();
    if (!sent) co_return std::unexpected(std::move(sent).error());
    auto got = co_await reply->read_head();
    if (!got) co_return std::unexpected(std::move(got).error());
    if (*got) co_return Reply(std::move(reply));
  }
}

Task<Result<>> Client::pause(milliseconds time, Call& call) {
  using Timer =
      asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
  if (call.cancellation.cancelled()) co_return cancelled_failure(call);
  Timer timer(impl_->shared->worker.context.get_executor(), time);
  OnCancel on_cancel(call.cancellation, [](void* t) { static_cast<Timer*>(t)->cancel(); }, &timer);
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable_t<Executor>{}));
  if (call.cancellation.cancelled()) co_return cancelled_failure(call);
  co_return Result<>{};
}
} // namespace intertie::net
