#include "net/outgoing.hpp"

#include <algorithm>

namespace intertie::net {

Outgoing::Sent Outgoing::begin(Socket& socket, std::span<const iovec> pieces, std::size_t ours, std::size_t ours_end) {
  std::size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  ssize_t result = socket.send(pieces.data(), pieces.size());
  if (result == Socket::kBroken) return Sent::Broken;
  std::size_t sent = result > 0 ? static_cast<std::size_t>(result) : 0;
  if (sent == total) return Sent::All;
  rest_ = std::make_unique<Rest>();
  rest_->ours.reserve(pieces.size()); // never moves: pieces point into it
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    std::size_t skip = std::min(sent, pieces[i].iov_len);
    sent -= skip;
    std::string_view left{static_cast<const char*>(pieces[i].iov_base) + skip, pieces[i].iov_len - skip};
    if (left.empty()) continue;
    if (i >= ours && i < ours_end) left = rest_->ours.emplace_back(left);
    rest_->pieces.push_back(piece_of(left));
  }
  return Sent::Some;
}

Outgoing::Sent Outgoing::more(Socket& socket) {
  if (rest_ == nullptr) return Sent::All;
  constexpr std::size_t kMostAtOnce = 64;
  std::size_t count = std::min(rest_->pieces.size() - rest_->next, kMostAtOnce);
  ssize_t result = socket.send(rest_->pieces.data() + rest_->next, count);
  if (result == Socket::kBroken) {
    rest_.reset();
    return Sent::Broken;
  }
  for (auto left = static_cast<std::size_t>(std::max<ssize_t>(result, 0)); left > 0;) {
    iovec& piece = rest_->pieces[rest_->next];
    std::size_t taken = std::min(left, piece.iov_len);
    piece.iov_base = static_cast<char*>(piece.iov_base) + taken;
    piece.iov_len -= taken;
    left -= taken;
    if (piece.iov_len == 0) ++rest_->next;
  }
  if (rest_->next < rest_->pieces.size()) return Sent::Some;
  rest_.reset();
  return Sent::All;
}
} // namespace intertie::net
