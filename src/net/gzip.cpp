#include "net/gzip.hpp"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

namespace intertie::net {
namespace {
constexpr int kGzip = 16 + MAX_WBITS, kZlib = MAX_WBITS, kRaw = -MAX_WBITS;
}

Inflater::Inflater(Coding coding) : stream_(std::make_unique<z_stream>()), coding_(coding) {
  if (inflateInit2(stream_.get(), coding == Coding::Gzip ? kGzip : kZlib) != Z_OK) throw std::bad_alloc{};
}
Inflater::~Inflater() { inflateEnd(stream_.get()); }

Inflated Inflater::feed(std::string_view& in, Buffer& out, std::size_t most) {
  out.need();
  while (!in.empty() || !ended_) {
    if (in.empty()) {
      // Output may still sit inside zlib; without input and with room left, it wants more input.
      if (out.free_size() > 0) return Inflated::More;
    } else if (!any_) {
      any_ = true;
      // "deflate" means zlib, but some send raw deflate: a zlib header's low nibble is 8.
      if (coding_ == Coding::Deflate && (static_cast<unsigned char>(in.front()) & 0x0FU) != 8)
        inflateReset2(stream_.get(), kRaw);
    } else if (ended_) {
      if (coding_ != Coding::Gzip) return Inflated::Broken; // bytes behind the end
      inflateReset(stream_.get());
      ended_ = false;
    }
    if (out.free_size() == 0) {
      if (out.capacity() >= most) return Inflated::TooLarge;
      out.grow(std::min(most, out.capacity() * 2));
    }
    constexpr std::size_t kMost = std::numeric_limits<uInt>::max();
    auto take = static_cast<uInt>(std::min(in.size(), kMost));
    auto room = static_cast<uInt>(std::min({out.free_size(), most - std::min(most, out.size), kMost}));
    if (room == 0) return Inflated::TooLarge;
    stream_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_->avail_in = take;
    stream_->next_out = reinterpret_cast<Bytef*>(out.free_begin());
    stream_->avail_out = room;
    int result = inflate(stream_.get(), Z_NO_FLUSH);
    in.remove_prefix(take - stream_->avail_in);
    out.size += room - stream_->avail_out;
    if (result == Z_STREAM_END) {
      ended_ = true;
      continue;
    }
    if (result == Z_BUF_ERROR && in.empty()) return Inflated::More;
    if (result != Z_OK) return Inflated::Broken;
    if (in.empty() && stream_->avail_out > 0) return Inflated::More;
  }
  return Inflated::Done;
}
} // namespace intertie::net
