#include "net/http_parse.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include <boost/asio/ip/address.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include "core/text.hpp"

namespace intertie::net {
namespace {
namespace http = boost::beast::http;
using BeastView = boost::beast::string_view;
using boost::system::error_code;
using text::equal_ignoring_case;

std::string_view view(BeastView v) { return {v.data(), v.size()}; }

std::optional<std::uint64_t> parse_length(std::string_view value) {
  std::uint64_t length = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
  if (error != std::errc{} || end != value.data() + value.size() || value.empty()) return std::nullopt;
  return length;
}

Coding coding_of(std::string_view value) {
  if (value.empty() || equal_ignoring_case(value, "identity")) return Coding::Identity;
  if (equal_ignoring_case(value, "gzip") || equal_ignoring_case(value, "x-gzip")) return Coding::Gzip;
  if (equal_ignoring_case(value, "deflate")) return Coding::Deflate;
  return Coding::Unknown;
}

thread_local std::array<Header, kMostHeaders> header_storage;

// What both directions have in common; refuses what Beast would let through.
template <bool IsRequest>
class Sink : public http::basic_parser<IsRequest> {
 public:
  Sink() {
    this->header_limit(0x7fffffff); // the caller has bounded the head already
    this->body_limit(boost::none);
  }
  std::size_t count = 0;
  std::size_t most = kMostHeaders;
  std::optional<std::uint64_t> length;
  bool chunked = false;
  bool coded = false;
  int minor = 1;
  Coding coding = Coding::Identity;
  std::optional<Refusal> refusal;

 protected:
  void refuse(int status, std::string_view message, error_code& error) {
    refusal = Refusal{status, message};
    error = http::error::bad_field;
  }
  void field(http::field id, std::string_view name, std::string_view value, error_code& error) {
    if (count == most) return refuse(431, "Too many header fields.", error);
    header_storage[count++] = {name, value};
    if (id == http::field::content_length) {
      if (length) return refuse(400, "Content-Length was sent twice.", error);
      length = parse_length(value);
      if (!length) return refuse(400, "Content-Length is not a number.", error);
    } else if (id == http::field::transfer_encoding) {
      if (chunked) return refuse(400, "Transfer-Encoding was sent twice.", error);
      if (!equal_ignoring_case(value, "chunked"))
        return refuse(501, "The only transfer coding understood is chunked.", error);
      chunked = true;
    } else if (id == http::field::content_encoding) {
      coding = coded ? Coding::Unknown : coding_of(value);
      coded = true;
    }
    if (length && chunked) refuse(400, "Content-Length and Transfer-Encoding may not come together.", error);
  }
  void on_request_impl(http::verb, BeastView, BeastView, int, error_code&) override {}
  void on_response_impl(int, BeastView, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(BeastView, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, BeastView, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}
};

class RequestSink final : public Sink<true> {
 public:
  explicit RequestSink(RequestHead& out) : out_(out) {}
  bool has_host = false;

 private:
  void on_request_impl(http::verb, BeastView method, BeastView target, int version, error_code& error) override {
    minor = version - 10;
    out_.method = view(method);
    std::string_view whole = view(target);
    if (whole.empty() || (whole.front() != '/' && !(whole == "*" && out_.method == "OPTIONS")))
      return refuse(400, "The request target must begin with a slash.", error);
    std::size_t mark = whole.find('?');
    out_.path = whole.substr(0, mark);
    out_.query = mark == whole.npos ? std::string_view{} : whole.substr(mark + 1);
  }
  void on_field_impl(http::field id, BeastView name, BeastView raw, error_code& error) override {
    std::string_view value = view(raw);
    field(id, view(name), value, error);
    if (error) return;
    switch (id) {
      case http::field::host:
        if (has_host) return refuse(400, "Host was sent twice.", error);
        has_host = true;
        out_.host = value;
        break;
      case http::field::origin: out_.origin = value; break;
      case http::field::expect:
        if (!equal_ignoring_case(value, "100-continue"))
          return refuse(417, "Only Expect: 100-continue is known.", error);
        out_.expects_continue = true;
        break;
      default: break;
    }
  }
  RequestHead& out_;
};

class ReplySink final : public Sink<false> {
 public:
  explicit ReplySink(ReplyHead& out) : out_(out) {}

 private:
  void on_response_impl(int status, BeastView, int version, error_code&) override {
    minor = version - 10;
    out_.status = status;
  }
  void on_field_impl(http::field id, BeastView name, BeastView raw, error_code& error) override {
    std::string_view value = view(raw);
    field(id, view(name), value, error);
    if (!error && id == http::field::content_type)
      out_.event_stream = equal_ignoring_case(value.substr(0, 17), "text/event-stream") &&
                          (value.size() == 17 || value[17] == ';' || value[17] == ' ');
  }
  ReplyHead& out_;
};

// Beast's verdicts in words; what isn't here is said in general.
constexpr std::pair<http::error, std::string_view> kWrong[] = {
    {http::error::bad_method, "The method in the request line is malformed."},
    {http::error::bad_target, "The target in the request line is malformed."},
    {http::error::bad_line_ending, "A line of the request's head does not end in CR LF."},
    {http::error::bad_field, "The name of a header field is malformed: no blanks are allowed in it."},
    {http::error::bad_value, "The value of a header field holds a control character."},
    {http::error::bad_content_length, "Content-Length must be one number, without Transfer-Encoding beside it."},
    {http::error::multiple_content_length, "Content-Length must be one number, without Transfer-Encoding beside it."},
    {http::error::bad_transfer_encoding, "Transfer-Encoding must be chunked, once, without Content-Length beside it."},
};
std::string_view what_is_wrong(const error_code& error) {
  for (const auto& [verdict, words] : kWrong)
    if (error == verdict) return words;
  return "The head of the request is malformed.";
}

std::string_view host_without_port(std::string_view host) {
  if (host.starts_with('[')) {
    std::size_t close = host.find(']');
    if (close == host.npos || (close + 1 < host.size() && host[close + 1] != ':')) return {};
    return host.substr(1, close - 1);
  }
  std::size_t colon = host.find(':');
  if (colon == host.npos) return host;
  std::string_view port = host.substr(colon + 1);
  if (!std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; })) return {};
  return host.substr(0, colon);
}

bool is_localhost(std::string_view name) {
  constexpr std::string_view kSuffix = ".localhost";
  if (name.ends_with('.')) name.remove_suffix(1);
  if (equal_ignoring_case(name, "localhost")) return true;
  return name.size() > kSuffix.size() && equal_ignoring_case(name.substr(name.size() - kSuffix.size()), kSuffix);
}
} // namespace

HeadScan::State HeadScan::scan(std::string_view bytes) {
  while (at_ < bytes.size()) {
    if (at_ == line_ && (bytes[at_] == ' ' || bytes[at_] == '\t')) return State::Bad; // obs-fold, or a blank before all
    const auto* found = static_cast<const char*>(std::memchr(bytes.data() + at_, '\n', bytes.size() - at_));
    if (found == nullptr) {
      at_ = bytes.size();
      return State::More;
    }
    auto lf = static_cast<std::size_t>(found - bytes.data());
    if (lf == line_ || bytes[lf - 1] != '\r') return State::Bad; // bare LF
    bool blank = lf - 1 == line_;
    at_ = line_ = lf + 1;
    if (blank) return State::Done;
  }
  return State::More;
}

std::optional<Refusal> parse_request(std::string_view head, std::size_t most_headers, RequestHead& out) {
  RequestSink sink(out);
  sink.most = std::min(most_headers, kMostHeaders);
  error_code error;
  sink.put(boost::asio::const_buffer(head.data(), head.size()), error);
  if (sink.refusal) return sink.refusal;
  if (error == http::error::bad_version) return Refusal{505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."};
  if (error || !sink.is_header_done()) return Refusal{400, what_is_wrong(error)};
  out.headers = {header_storage.data(), sink.count};
  out.length = sink.length;
  out.chunked = sink.chunked;
  out.http10 = sink.minor == 0;
  out.keep_alive = sink.keep_alive();
  out.coding = sink.coding;
  if (out.http10 && out.chunked) return Refusal{400, "HTTP/1.0 has no chunked bodies."};
  if (!out.http10 && !sink.has_host) return Refusal{400, "Host is missing."};
  return std::nullopt;
}

bool parse_reply(std::string_view head, ReplyHead& out) {
  ReplySink sink(out);
  error_code error;
  sink.put(boost::asio::const_buffer(head.data(), head.size()), error);
  if (error || !sink.is_header_done() || sink.refusal) return false;
  out.length = sink.length;
  out.chunked = sink.chunked;
  out.no_body = out.status / 100 == 1 || out.status == 204 || out.status == 304;
  out.keep_alive = sink.keep_alive();
  out.coding = sink.coding;
  return true;
}

std::string_view find_header(std::string_view head, std::string_view name) {
  std::size_t at = head.find('\n');
  while (at != head.npos && at + 1 < head.size()) {
    std::size_t begin = at + 1;
    at = head.find('\n', begin);
    std::string_view line = head.substr(begin, at == head.npos ? head.npos : at - begin);
    if (line.size() > name.size() && line[name.size()] == ':' && equal_ignoring_case(line.substr(0, name.size()), name))
      return text::trim(line.substr(name.size() + 1));
  }
  return {};
}

ChunkDecoder::State ChunkDecoder::framing(char c) {
  constexpr std::uint32_t kMostOverhead = 16 * 1024;
  switch (state_) {
    case State::Size: {
      char low = text::lower(c);
      int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
      if (digit >= 0) {
        if (++digits_ > 15) return State::Bad;
        left_ = left_ * 16 + static_cast<unsigned>(digit);
        return State::Size;
      }
      if (digits_ == 0) return State::Bad;
      if (c == '\r') return State::SizeLf;
      return c == ';' || c == ' ' || c == '\t' ? State::Extension : State::Bad;
    }
    case State::Extension:
      if (c == '\r') return State::SizeLf;
      return c == '\n' || c == '\0' || ++overhead_ > kMostOverhead ? State::Bad : State::Extension;
    case State::SizeLf:
      digits_ = 0;
      if (c != '\n') return State::Bad;
      return left_ > 0 ? State::Data : State::TrailerStart;
    case State::DataCr: return c == '\r' ? State::DataLf : State::Bad;
    case State::DataLf: return c == '\n' ? State::Size : State::Bad;
    case State::TrailerStart:
      if (c == '\r') return State::EndLf;
      [[fallthrough]];
    case State::Trailer:
      if (c == '\r') return State::TrailerLf;
      return c == '\n' || c == '\0' || ++overhead_ > kMostOverhead ? State::Bad : State::Trailer;
    case State::TrailerLf: return c == '\n' ? State::TrailerStart : State::Bad;
    case State::EndLf: return c == '\n' ? State::Done : State::Bad;
    case State::Data:
    case State::Done:
    case State::Bad: break;
  }
  return state_;
}

ChunkDecoder::Step ChunkDecoder::decode(const char* in, std::size_t size, char* out) {
  std::size_t at = 0, produced = 0;
  while (at < size && state_ != State::Done && state_ != State::Bad) {
    if (state_ != State::Data) {
      state_ = framing(in[at++]);
      continue;
    }
    auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(left_, size - at));
    if (out + produced != in + at) std::memmove(out + produced, in + at, piece);
    at += piece;
    produced += piece;
    left_ -= piece;
    if (left_ == 0) state_ = State::DataCr;
  }
  return {at, produced};
}

bool host_allowed(std::string_view host) {
  std::string_view name = host_without_port(host);
  if (name.empty()) return false;
  if (is_localhost(name)) return true;
  // Digits and dots can be nothing but an address: no top-level domain is numeric (RFC 3696, 2).
  if (name.find_first_not_of("0123456789.") == name.npos) return true;
  error_code error;
  asio::ip::make_address(std::string(name), error);
  return !error;
}

bool origin_allowed(std::string_view origin) {
  if (origin.empty() || origin == "null") return true;
  for (std::string_view scheme : {"app://", "file://", "tauri://", "vscode-webview://"})
    if (origin.starts_with(scheme)) return true;
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!origin.starts_with(scheme)) continue;
    std::string_view name = host_without_port(origin.substr(scheme.size()));
    return equal_ignoring_case(name, "localhost") || name == "127.0.0.1" || name == "::1";
  }
  return false;
}

std::string_view status_text(int status) {
  switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    case 529: return "Overloaded";
    default: return "Status";
  }
}
} // namespace intertie::net
