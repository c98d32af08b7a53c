// HTTP/1.1 heads and chunked bodies, sans-I/O. Heads go through Beast's basic_parser with our own sink: views into the
// caller's bytes, nothing copied. Stricter than Beast where leniency is a smuggling door: bare LF, obs-fold, repeated or
// listed lengths, transfer codings other than chunked. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/exchange.hpp"

namespace intertie::net {

inline constexpr std::size_t kMostHeaders = 256; // what one parse can hold; ServerLimits may ask for less

// Looks for the end of a head in bytes that arrive in pieces. Feed it the same, longer bytes each time.
class HeadScan {
 public:
  enum class State : std::uint8_t { More, Done, Bad };
  State scan(std::string_view bytes);
  std::size_t end() const { return at_; } // when Done: the length of the head with its blank line

 private:
  std::size_t at_ = 0;   // bytes already looked at
  std::size_t line_ = 0; // where the current line begins
};

enum class Coding : std::uint8_t { Identity, Gzip, Deflate, Unknown };

struct RequestHead {
  std::string_view method, path, query, host, origin;
  std::span<const Header> headers; // in thread-local storage: copy before the next parse
  std::optional<std::uint64_t> length;
  bool chunked = false;
  bool http10 = false;
  bool keep_alive = true;
  bool expects_continue = false;
  Coding coding = Coding::Identity;
};
struct Refusal {
  int status;
  std::string_view message;
};
// `head` is one whole head as found by HeadScan.
std::optional<Refusal> parse_request(std::string_view head, std::size_t most_headers, RequestHead& out);

struct ReplyHead {
  int status = 0;
  std::optional<std::uint64_t> length; // none: chunked or until the end of the connection
  bool chunked = false;
  bool no_body = false; // 1xx, 204, 304
  bool keep_alive = false;
  bool event_stream = false;
  Coding coding = Coding::Identity;
};
bool parse_reply(std::string_view head, ReplyHead& out);

// Value of the first header called `name` in a raw head; empty when absent.
std::string_view find_header(std::string_view head, std::string_view name);

// Takes the framing off a chunked body, in place. Trailers are read over.
class ChunkDecoder {
 public:
  struct Step {
    std::size_t consumed; // of the input; all of it unless done() or bad()
    std::size_t produced; // bytes of body now at `out`
  };
  Step decode(const char* in, std::size_t size, char* out); // out may be in, or before it
  bool done() const { return state_ == State::Done; }
  bool bad() const { return state_ == State::Bad; }
  bool between_chunks() const { return state_ == State::Size && digits_ == 0; }

 private:
  enum class State : std::uint8_t {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
    Bad
  };
  State framing(char c);
  State state_ = State::Size;
  std::uint8_t digits_ = 0;
  std::uint32_t overhead_ = 0; // bytes of extensions and trailers, bounded
  std::uint64_t left_ = 0;
};

// DNS rebinding and drive-by pages: who may name us, and whose scripts may call.
bool host_allowed(std::string_view host);
bool origin_allowed(std::string_view origin);

std::string_view status_text(int status);

} // namespace intertie::net
