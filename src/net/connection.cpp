#include "net/connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "core/json.hpp"
#include "core/text.hpp"
#include "net/gzip.hpp"

namespace intertie::net {
namespace {
constexpr std::string_view kEnd = "\r\n", kLastChunk = "0\r\n\r\n";
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

void append_number(std::string& out, std::size_t value) {
  fmt::format_int text(value);
  out.append(text.data(), text.size());
}

bool one_line(std::string_view value) { // three memchr are quicker than one find_first_of
  return value.find('\n') == value.npos && value.find('\r') == value.npos && value.find('\0') == value.npos;
}

std::string_view error_type(int status) {
  if (status >= 500) return "server_error";
  return status == 403 ? "permission_error" : "invalid_request_error";
}
std::string_view error_code_of(int status) {
  switch (status) {
    case 403: return "forbidden";
    case 408: return "request_timeout";
    case 413: return "request_too_large";
    case 431: return "headers_too_large";
    case 500: return "internal_error";
    default: return "bad_http_request";
  }
}
std::string error_body(const Refusal& refusal) {
  json::Object error;
  error.add("message", refusal.message).add("type", error_type(refusal.status));
  error.null("param").add("code", error_code_of(refusal.status));
  return json::Object{}.raw("error", error.str()).str();
}
} // namespace

std::string_view Exchange::header(std::string_view name) const {
  for (const Header& header : headers())
    if (header.name.size() == name.size() && text::equal_ignoring_case(header.name, name)) return header.value;
  return {};
}

Connection::Connection(std::shared_ptr<ServerShared> server, Socket socket, bool tcp)
    : server_(std::move(server)), socket_(std::move(socket)), tcp_(tcp) {
  link(server_->connections);
}

Task<void> Connection::serve() {
  while (co_await read_request()) {
    std::exception_ptr escaped;
    try {
      co_await server_->handler(*this);
    } catch (...) { escaped = std::current_exception(); }
    watched_ = nullptr;
    if (escaped) Worker::Core::log_escaped(escaped, "request handler");
    if (phase_ == Phase::Nothing && !broken_) {
      std::string body = error_body({500, "The request was not answered."});
      (void)co_await respond(500, "application/json", {}, body);
    }
    if (phase_ != Phase::Finished) abort();
    if (broken_ || !keep_alive_ || server_->closing) break;
    end_request();
  }
  if (lingering_ && !broken_) co_await linger();
  socket_.on_idle(nullptr);
  socket_.close();
}

void Connection::close_if_idle() {
  if (idle_ && in_.size == 0) socket_.shutdown();
}
void Connection::cut() {
  broken_ = true;
  socket_.shutdown();
}

Connection::Fill Connection::fill() {
  in_.need();
  if (in_.free_size() == 0) in_.grow(in_.capacity() * 2);
  ssize_t got = socket_.receive(in_.free_begin(), in_.free_size());
  if (got > 0) {
    in_.size += static_cast<std::size_t>(got);
    return Fill::More;
  }
  return got == Socket::kWouldBlock ? Fill::Again : Fill::End;
}

Task<bool> Connection::read_request() {
  const ServerLimits& limits = server_->limits;
  HeadScan scan;
  TimePoint deadline = server_->worker.now() + limits.idle_timeout;
  int blanks = 0;
  idle_ = true;
  for (;;) {
    auto state = scan.scan({in_.data(), in_.size});
    if (state == HeadScan::State::Done && scan.end() == 2 && ++blanks < 8) { // an empty line before (RFC 9112, 2.2)
      in_.size -= 2;
      std::memmove(in_.data(), in_.data() + 2, in_.size);
      scan = {};
      continue;
    }
    if (state == HeadScan::State::Bad)
      co_return co_await refuse({400, "The lines of a request's head end in CR LF, and none begins with a blank."});
    if ((state == HeadScan::State::Done ? scan.end() : in_.size) > limits.head_bytes)
      co_return co_await refuse({431, "The head of the request is too long."});
    if (state == HeadScan::State::Done) break;
    if (socket_.drained()) {
      if (in_.size == 0) {
        if (server_->closing) co_return false;
        in_.drop();
      }
      Wake wake = co_await socket_.readable(deadline, in_.size == 0 ? Pace::Idle : Pace::Urgent);
      if (wake == Wake::Closed || broken_) co_return false;
      if (wake == Wake::Timeout) {
        if (in_.size == 0) co_return false;
        co_return co_await refuse({408, "The head of the request did not arrive in time."});
      }
    }
    bool first = in_.size == 0;
    if (fill() == Fill::End) co_return false;
    if (first) deadline = server_->worker.now() + limits.head_timeout;
  }
  idle_ = false;
  std::size_t head_end = scan.end();
  if (auto refusal = judge_head(head_end)) co_return co_await refuse(*refusal);
  const char* parsed_at = in_.data();
  ChunkDecoder decoder;
  bool complete = false;
  TimePoint last_call = server_->worker.now() + limits.body_deadline;
  for (;;) {
    if (auto refusal = take_body_bytes(head_end, decoder, complete)) co_return co_await refuse(*refusal);
    if (complete) break;
    if (head_.expects_continue) send_continue();
    if (socket_.drained()) {
      Wake wake = co_await socket_.readable(std::min(last_call, server_->worker.now() + limits.body_timeout));
      if (wake == Wake::Closed || broken_) co_return false;
      if (wake == Wake::Timeout) co_return co_await refuse({408, "The body of the request did not arrive in time."});
    }
    if (fill() == Fill::End) co_return false;
  }
  settle(head_end, parsed_at);
  if (head_.coding != Coding::Identity && !body_.empty())
    if (auto refusal = inflate_body()) co_return co_await refuse(*refusal);
  co_return true;
}

std::optional<Refusal> Connection::judge_head(std::size_t head_end) {
  head_ = {};
  keep_alive_ = false; // whatever is wrong with a head, what follows it can't be trusted
  if (auto refusal = parse_request({in_.data(), head_end}, server_->limits.headers, head_)) return refusal;
  if (tcp_ && !head_.host.empty() && !host_allowed(head_.host))
    return Refusal{403, "This Host is not allowed: use an IP address or localhost (this stops DNS rebinding)."};
  if (tcp_ && head_.host.empty() && !head_.http10) return Refusal{400, "Host is empty."};
  if (!origin_allowed(head_.origin)) return Refusal{403, "Pages of this Origin may not call this server."};
  if (head_.coding == Coding::Unknown) return Refusal{415, "Content-Encoding: only gzip and deflate are understood."};
  if (head_.length && *head_.length > server_->limits.body_bytes) return too_large();
  keep_alive_ = head_.keep_alive;
  no_body_ = head_.method == "HEAD";
  if (!head_.length && !head_.chunked) head_.expects_continue = false;
  headers_.assign(head_.headers.begin(), head_.headers.end()); // the parser's table belongs to the thread
  return std::nullopt;
}

std::optional<Refusal> Connection::too_large() const { return Refusal{413, server_->too_large}; }

std::optional<Refusal> Connection::take_body_bytes(std::size_t head_end, ChunkDecoder& decoder, bool& complete) {
  if (!head_.chunked) {
    request_end_ = head_end + static_cast<std::size_t>(head_.length.value_or(0));
    complete = in_.size >= request_end_;
    // In steps: a client that only claims a large body gets no large buffer for it.
    if (!complete && in_.capacity() < request_end_ && in_.free_size() < Buffer::kSize / 4)
      in_.grow(std::min(request_end_, std::max<std::size_t>(in_.capacity() * 4, 256 * 1024)));
    return std::nullopt;
  }
  if (request_end_ < head_end) request_end_ = head_end;
  char* begin = in_.data() + request_end_;
  std::size_t fresh = in_.size - request_end_;
  auto step = decoder.decode(begin, fresh, begin);
  if (decoder.bad()) return Refusal{400, "The chunked body is malformed."};
  std::size_t ahead = fresh - step.consumed;
  if (ahead > 0) std::memmove(begin + step.produced, begin + step.consumed, ahead);
  request_end_ += step.produced;
  in_.size = request_end_ + ahead;
  if (request_end_ - head_end > server_->limits.body_bytes) return too_large();
  complete = decoder.done();
  return std::nullopt;
}

// All bytes are here; from now on the buffer does not move. If it has moved since the head was parsed, parse it again.
void Connection::settle(std::size_t head_end, const char* parsed_at) {
  if (in_.data() != parsed_at) {
    RequestHead again;
    CHECK(!parse_request({in_.data(), head_end}, server_->limits.headers, again));
    head_ = again;
    headers_.assign(head_.headers.begin(), head_.headers.end());
  }
  body_ = {in_.data() + head_end, request_end_ - head_end};
}

std::optional<Refusal> Connection::inflate_body() {
  const ServerLimits& limits = server_->limits;
  constexpr std::size_t kFree = 256 * 1024; // small bodies may be as regular as they like
  auto by_ratio = static_cast<std::size_t>(static_cast<double>(body_.size()) * limits.gzip_ratio);
  Inflater inflater(head_.coding);
  std::size_t most = std::min(limits.body_bytes, std::max(by_ratio, kFree));
  switch (inflater.feed(body_, inflated_, most)) {
    case Inflated::TooLarge:
      keep_alive_ = false;
      if (most == limits.body_bytes) return too_large();
      return Refusal{413, "The compressed body unpacks to far more than its size: send it uncompressed."};
    case Inflated::Broken:
    case Inflated::More: keep_alive_ = false; return Refusal{400, "The compressed body is damaged."};
    case Inflated::Done: break;
  }
  body_ = {inflated_.data(), inflated_.size};
  return std::nullopt;
}

void Connection::send_continue() {
  head_.expects_continue = false;
  iovec piece = piece_of(kContinue);
  if (socket_.send(&piece, 1) != static_cast<ssize_t>(kContinue.size())) broken_ = true;
}

void Connection::release_request() {
  inflated_.drop();
  body_ = {};
  bool http10 = head_.http10;
  head_ = {};
  head_.http10 = http10;
  headers_ = {};
  std::size_t ahead = in_.size > request_end_ ? in_.size - request_end_ : 0;
  if (ahead == 0) {
    in_.drop();
  } else {
    Buffer rest;
    rest.grow(ahead);
    std::memcpy(rest.data(), in_.data() + request_end_, ahead);
    rest.size = ahead;
    in_ = std::move(rest);
  }
  request_end_ = 0;
}

void Connection::end_request() {
  std::size_t ahead = in_.size > request_end_ ? in_.size - request_end_ : 0;
  if (in_.capacity() > Buffer::kSize || headers_.capacity() > 32) {
    release_request();
  } else if (ahead > 0) {
    std::memmove(in_.data(), in_.data() + request_end_, ahead);
  }
  inflated_.drop();
  in_.size = ahead;
  if (ahead == 0) in_.drop();
  request_end_ = 0;
  headers_.clear();
  body_ = {};
  head_ = {};
  phase_ = Phase::Nothing;
}

void Connection::watch(Cancellation& cancellation) {
  watched_ = &cancellation;
  if (broken_) cancellation.fire(CancelReason::ClientGone);
  else socket_.on_idle(this);
}

void Connection::on_socket(Wake wake) {
  if (wake != Wake::Ready || broken_) return;
  if (socket_.peer_gone()) {
    broken_ = true;
    if (watched_ != nullptr) watched_->fire(CancelReason::ClientGone);
  } else if (watched_ != nullptr) {
    socket_.on_idle(this); // it only sent ahead: wait for the next edge, the bytes keep
  }
}

Task<bool> Connection::refuse(Refusal refusal) {
  keep_alive_ = false;
  lingering_ = true;
  std::string body = error_body(refusal);
  (void)co_await respond(refusal.status, "application/json", {}, body);
  co_return false;
}

// Closing with unread bytes makes the kernel send a reset, which may overtake the answer: read on for a moment.
Task<void> Connection::linger() {
  constexpr std::size_t kMost = 64u << 20;
  ::shutdown(socket_.fd(), SHUT_WR);
  TimePoint deadline = server_->worker.now() + seconds{2};
  std::size_t discarded = 0;
  request_end_ = 0;
  while (discarded < kMost && !broken_ && server_->worker.now() < deadline) {
    in_.size = 0;
    Fill got = fill();
    discarded += in_.size;
    if (got == Fill::End) co_return;
    if (socket_.drained() && co_await socket_.readable(deadline) != Wake::Ready) co_return;
  }
}

Result<> Connection::gone() const { return fail(FailureKind::Cancelled, Fault::Client, "The client went away."); }

std::string& Connection::begin_head(int status, std::string_view content_type, std::span<const Header> headers) {
  thread_local std::string head;
  head.clear();
  head += "HTTP/1.1 ";
  append_number(head, static_cast<std::size_t>(std::clamp(status, 100, 999)));
  head += ' ';
  head += status_text(status);
  head += kEnd;
  if (!content_type.empty() && one_line(content_type)) head.append("Content-Type: ").append(content_type).append(kEnd);
  for (const Header& header : headers) {
    if (!one_line(header.name) || !one_line(header.value)) continue; // no header may smuggle in another
    head.append(header.name).append(": ").append(header.value).append(kEnd);
  }
  if (server_->closing) keep_alive_ = false;
  if (!keep_alive_) head += "Connection: close\r\n";
  else if (head_.http10) head += "Connection: keep-alive\r\n";
  return head;
}

bool Connection::send(std::span<const iovec> pieces, std::size_t ours) {
  auto sent = outgoing_.begin(socket_, pieces, 0, ours);
  if (sent == Outgoing::Sent::Broken) broken_ = true;
  return sent != Outgoing::Sent::Some;
}

Task<Result<>> Connection::flush() {
  for (auto sent = Outgoing::Sent::Some; sent == Outgoing::Sent::Some && !broken_;) {
    Wake wake = co_await socket_.writable(server_->worker.now() + server_->limits.write_timeout);
    if (wake != Wake::Ready) broken_ = true;
    if (broken_) break;
    sent = outgoing_.more(socket_);
    if (sent == Outgoing::Sent::Broken) broken_ = true;
  }
  if (broken_) co_return gone();
  co_return Result<>{};
}

bool Connection::put_whole(int status, std::string_view content_type, std::span<const Header> headers,
                           std::string_view body) {
  std::string& head = begin_head(status, content_type, headers);
  bool bodyless = status == 204 || status == 304 || status < 200;
  if (!bodyless) {
    head += "Content-Length: ";
    append_number(head, body.size());
    head += kEnd;
  }
  head += kEnd;
  iovec pieces[] = {piece_of(head), piece_of(body)};
  return send({pieces, bodyless || no_body_ || body.empty() ? 1U : 2U}, 1);
}

bool Connection::put_start(int status, std::string_view content_type, std::span<const Header> headers,
                           std::string_view first_piece) {
  std::string& head = begin_head(status, content_type, headers);
  if (framing_ == Framing::Chunked) head += "Transfer-Encoding: chunked\r\n";
  head += kEnd;
  bool chunk = framing_ == Framing::Chunked && !first_piece.empty() && !no_body_;
  if (chunk) fmt::format_to(std::back_inserter(head), "{:x}\r\n", first_piece.size());
  iovec pieces[] = {piece_of(head), piece_of(first_piece), piece_of(kEnd)};
  return send({pieces, chunk ? 3U : first_piece.empty() || no_body_ ? 1U : 2U}, 1);
}

bool Connection::put_piece(std::string_view piece) {
  if (framing_ != Framing::Chunked) {
    iovec pieces[] = {piece_of(piece)};
    return send(pieces, 0);
  }
  char size[24];
  auto end = fmt::format_to_n(size, sizeof size, "{:x}\r\n", piece.size()).out;
  iovec pieces[] = {piece_of({size, static_cast<std::size_t>(end - size)}), piece_of(piece), piece_of(kEnd)};
  return send(pieces, 1);
}

Task<Result<>> Connection::respond(int status, std::string_view content_type, std::span<const Header> headers,
                                   std::string_view body) {
  if (phase_ != Phase::Nothing) co_return internal("respond() after an answer was begun");
  if (broken_) co_return gone();
  phase_ = Phase::Finished;
  if (!put_whole(status, content_type, headers, body)) co_return co_await flush();
  if (broken_) co_return gone();
  co_return Result<>{};
}

Task<Result<>> Connection::start(int status, std::string_view content_type, std::span<const Header> headers,
                                 std::string_view first_piece) {
  if (phase_ != Phase::Nothing) co_return internal("start() after an answer was begun");
  if (broken_) co_return gone();
  phase_ = Phase::Streaming;
  framing_ = head_.http10 ? Framing::UntilClose : Framing::Chunked;
  if (framing_ == Framing::UntilClose) keep_alive_ = false;
  if (!put_start(status, content_type, headers, first_piece)) co_return co_await flush();
  if (broken_) co_return gone();
  co_return Result<>{};
}

Task<Result<>> Connection::write(std::string_view piece) {
  if (broken_ || phase_ == Phase::Aborted) co_return gone();
  if (phase_ != Phase::Streaming) co_return internal("write() outside a stream");
  if (piece.empty() || no_body_) co_return Result<>{};
  if (!put_piece(piece)) co_return co_await flush();
  if (broken_) co_return gone();
  co_return Result<>{};
}

bool Connection::put_last() {
  iovec pieces[] = {piece_of(kLastChunk)};
  return send(pieces, 0);
}

Task<Result<>> Connection::finish() {
  if (broken_ || phase_ == Phase::Aborted) co_return gone();
  if (phase_ != Phase::Streaming) co_return internal("finish() outside a stream");
  phase_ = Phase::Finished;
  if (framing_ != Framing::Chunked || no_body_) co_return Result<>{};
  if (!put_last()) co_return co_await flush();
  if (broken_) co_return gone();
  co_return Result<>{};
}

void Connection::abort() {
  phase_ = Phase::Aborted;
  keep_alive_ = false;
  if (!broken_) socket_.shutdown();
  broken_ = true;
}
} // namespace intertie::net
