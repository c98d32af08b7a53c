// One client connection: reads requests one after the other, hands each to the handler as an Exchange, writes the answer.
// Holds a buffer only while a request is being read or handled. Lives in its own coroutine; one io thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/text.hpp"
#include "net/http_parse.hpp"
#include "net/outgoing.hpp"
#include "net/server.hpp"
#include "net/socket.hpp"

namespace intertie::net {

class Connection;

// What the connections of one Server share. Outlives the Server while connections run.
struct ServerShared {
  Worker::Core& worker;
  ServerLimits limits;
  Handler handler;
  Linked<Connection>* connections = nullptr;
  bool closing = false; // no keep-alive any more
  std::string too_large = "The body of the request is larger than the limit of " +
                          text::human_bytes(limits.body_bytes) + ": send less, or raise [server] max_body.";
};

class Connection final : public Exchange, private SocketEvents, public Linked<Connection> {
 public:
  Connection(std::shared_ptr<ServerShared> server, Socket socket, bool tcp);
  Task<void> serve();
  void close_if_idle(); // the worker is stopping: an idle connection has nothing to lose
  void cut();           // its grace is over

  std::string_view method() const override { return head_.method; }
  std::string_view path() const override { return head_.path; }
  std::string_view query() const override { return head_.query; }
  std::span<const Header> headers() const override { return headers_; }
  std::string_view body() const override { return body_; }
  Task<Result<>> respond(int status, std::string_view content_type, std::span<const Header> headers,
                         std::string_view body) override;
  Task<Result<>> start(int status, std::string_view content_type, std::span<const Header> headers,
                       std::string_view first_piece) override;
  Task<Result<>> write(std::string_view piece) override;
  Task<Result<>> finish() override;
  void abort() override;
  bool started() const override { return phase_ != Phase::Nothing; }
  void release_request() override;
  void watch(Cancellation& cancellation) override;

 private:
  enum class Phase : std::uint8_t { Nothing, Streaming, Finished, Aborted };
  enum class Framing : std::uint8_t { Length, Chunked, UntilClose };
  enum class Fill : std::uint8_t { More, Again, End };

  Task<bool> read_request(); // false: the connection is over
  std::optional<Refusal> judge_head(std::size_t head_end);
  std::optional<Refusal> take_body_bytes(std::size_t head_end, ChunkDecoder& decoder, bool& complete);
  std::optional<Refusal> inflate_body();
  std::optional<Refusal> too_large() const;
  void settle(std::size_t head_end, const char* parsed_at);
  Fill fill();
  void send_continue();
  void end_request();
  Task<bool> refuse(Refusal refusal); // answers, then false
  Task<void> linger();

  std::string& begin_head(int status, std::string_view content_type, std::span<const Header> headers);
  // The put_ functions write at once, in one call; false: the socket is full and some is left for flush().
  bool put_whole(int status, std::string_view content_type, std::span<const Header> headers, std::string_view body);
  bool put_start(int status, std::string_view content_type, std::span<const Header> headers,
                 std::string_view first_piece);
  bool put_piece(std::string_view piece);
  bool put_last();
  bool send(std::span<const iovec> pieces, std::size_t ours); // the first `ours` pieces die with the caller
  Task<Result<>> flush();
  Result<> gone() const;
  void on_socket(Wake wake) override;

  std::shared_ptr<ServerShared> server_;
  Socket socket_;
  Buffer in_; // [head][body][what the client sent ahead]
  Buffer inflated_;
  RequestHead head_{};
  std::vector<Header> headers_;
  std::string_view body_;
  std::size_t request_end_ = 0; // in in_
  Outgoing outgoing_;
  Cancellation* watched_ = nullptr;
  Phase phase_ = Phase::Nothing;
  Framing framing_ = Framing::Length;
  bool tcp_;
  bool idle_ = true;
  bool keep_alive_ = true;
  bool no_body_ = false;   // HEAD
  bool broken_ = false;    // the socket is of no use any more
  bool lingering_ = false; // the client may still be sending what we refused
};

} // namespace intertie::net
