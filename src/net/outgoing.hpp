// Writes pieces to a Socket in one call and keeps what a full socket did not take. The caller's pieces are not copied (the
// caller waits until all is sent); those marked as ours, which die at once, are. One io thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/socket.hpp"

namespace intertie::net {

inline iovec piece_of(std::string_view text) { return {const_cast<char*>(text.data()), text.size()}; }

class Outgoing {
 public:
  enum class Sent : std::uint8_t { All, Some, Broken };
  // Pieces [ours, ours_end) are copied when they can't be sent at once.
  Sent begin(Socket& socket, std::span<const iovec> pieces, std::size_t ours, std::size_t ours_end);
  Sent more(Socket& socket); // after Some, when writable
 private:
  struct Rest {
    std::vector<std::string> ours;
    std::vector<iovec> pieces;
    std::size_t next = 0;
  };
  std::unique_ptr<Rest> rest_;
};

} // namespace intertie::net
