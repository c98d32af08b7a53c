// Inflates gzip and deflate (zlib or raw) bodies, sans-I/O and bounded. Memory for the window exists only while an
// Inflater does. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "net/http_parse.hpp"
#include "net/worker.hpp"

struct z_stream_s;

namespace intertie::net {

enum class Inflated : std::uint8_t { More, Done, Broken, TooLarge };

class Inflater {
 public:
  explicit Inflater(Coding coding);
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  // Takes from the front of `in`, appends to `out` until `in` is used up or `out.size` reaches `most` (TooLarge).
  // More: wants more input. Done: the end of the last member was reached and `in` is empty.
  Inflated feed(std::string_view& in, Buffer& out, std::size_t most);

 private:
  std::unique_ptr<z_stream_s> stream_;
  Coding coding_;
  bool any_ = false;   // has any byte come in?
  bool ended_ = false; // between members
};

} // namespace intertie::net
