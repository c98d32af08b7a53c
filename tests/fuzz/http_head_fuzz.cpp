// links: net
// Heads and chunked bodies as a hostile peer would send them. First byte: what is fed; second: where the input is cut. Any
// cut must give the same verdict and the same bytes.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/http_parse.hpp"

namespace {
using namespace intertie::net;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_request(std::string_view bytes, std::size_t cut) {
  HeadScan whole, pieces;
  auto state = whole.scan(bytes);
  auto early = pieces.scan(bytes.substr(0, cut));
  if (early == HeadScan::State::More) early = pieces.scan(bytes);
  require(early == state);
  if (state != HeadScan::State::Done) return;
  require(whole.end() == pieces.end() && whole.end() <= bytes.size());
  RequestHead head;
  if (parse_request(bytes.substr(0, whole.end()), 96, head)) return;
  require(!(head.length && head.chunked) && head.headers.size() <= 96);
  for (const Header& header : head.headers) require(header.value.find_first_of("\r\n") == std::string_view::npos);
  (void)host_allowed(head.host);
  (void)origin_allowed(head.origin);
}

void check_reply(std::string_view bytes) {
  HeadScan scan;
  ReplyHead head;
  if (scan.scan(bytes) != HeadScan::State::Done) return;
  if (parse_reply(bytes.substr(0, scan.end()), head)) require(!(head.length && head.chunked));
  (void)find_header(bytes.substr(0, scan.end()), "content-type");
}

void check_chunks(std::string_view bytes, std::size_t cut) {
  std::string once(bytes), first(bytes.substr(0, cut)), second(bytes.substr(cut));
  ChunkDecoder whole, pieces;
  auto all = whole.decode(once.data(), once.size(), once.data());
  auto a = pieces.decode(first.data(), first.size(), first.data());
  auto b = pieces.decode(second.data(), second.size(), second.data());
  require(whole.done() == pieces.done() && whole.bad() == pieces.bad());
  require(once.substr(0, all.produced) == first.substr(0, a.produced) + second.substr(0, b.produced));
  if (!whole.bad()) require(all.consumed == a.consumed + b.consumed);
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  std::size_t cut = bytes.empty() ? 0 : data[1] * bytes.size() / 256;
  switch (data[0] % 3) {
    case 0: check_request(bytes, cut); break;
    case 1: check_reply(bytes); break;
    default: check_chunks(bytes, cut);
  }
  return 0;
}
