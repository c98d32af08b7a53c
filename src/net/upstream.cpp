#include "net/upstream.hpp"

#include <algorithm>

namespace intertie::net {
namespace {
constexpr std::size_t kMostIdlePerEndpoint = 128, kMostIdle = 512;
constexpr seconds kIdleFor{55}; // below the 60 s after which common servers and balancers close
} // namespace

ssize_t Upstream::receive(char* to, std::size_t most) {
  if (!tls) return socket.receive(to, most);
  socket.undrained();
  auto moved = tls->read(to, most);
  tls_drained_ = moved.want == TlsSession::Want::Read || moved.want == TlsSession::Want::Write;
  tls_wants_write_ = moved.want == TlsSession::Want::Write;
  switch (moved.want) {
    case TlsSession::Want::Nothing: return static_cast<ssize_t>(moved.bytes);
    case TlsSession::Want::End: return 0;
    case TlsSession::Want::Broken: return Socket::kBroken;
    default: return Socket::kWouldBlock;
  }
}

Task<Wake> Upstream::readable(TimePoint deadline) {
  if (tls_wants_write_) return socket.writable(deadline);
  return socket.readable(deadline);
}

Task<Wake> Upstream::handshake(TimePoint deadline) {
  for (;;) {
    Wake wake = Wake::Closed;
    switch (tls->handshake()) {
      case TlsSession::Want::Nothing: co_return Wake::Ready;
      case TlsSession::Want::Read: wake = co_await socket.readable(deadline); break;
      case TlsSession::Want::Write: wake = co_await socket.writable(deadline); break;
      default: co_return Wake::Closed;
    }
    if (wake != Wake::Ready) co_return wake;
  }
}

void Upstream::on_socket(Wake wake) {
  if (pool_ == nullptr) return;
  if (wake == Wake::Ready) { // it may be a false alarm (see Socket::readable), or a TLS session ticket
    char byte;
    if (receive(&byte, 1) == Socket::kWouldBlock) {
      socket.on_idle(this, pool_->worker_.now() + kIdleFor);
      return;
    }
  }
  pool_->lose(*this); // ends *this
}

Pool::Slot* Pool::find(const Endpoint& endpoint) {
  for (auto& slot : slots_)
    if (slot->endpoint == endpoint) return slot.get();
  return nullptr;
}

std::unique_ptr<Upstream> Pool::take(const Endpoint& endpoint) {
  Slot* slot = find(endpoint);
  if (slot == nullptr || slot->idle.empty()) return nullptr;
  auto upstream = std::move(slot->idle.back());
  slot->idle.pop_back();
  --total_;
  upstream->pool_ = nullptr;
  upstream->reused = true;
  upstream->socket.on_idle(nullptr);
  return upstream;
}

void Pool::give(const Endpoint& endpoint, std::unique_ptr<Upstream> upstream) {
  Slot* slot = find(endpoint);
  if (slot == nullptr) {
    std::erase_if(slots_, [](const auto& known) { return known->idle.empty(); });
    slot = slots_.emplace_back(std::make_unique<Slot>(endpoint)).get();
  }
  if (slot->idle.size() >= kMostIdlePerEndpoint || total_ >= kMostIdle) return;
  upstream->pool_ = this;
  upstream->socket.on_idle(upstream.get(), worker_.now() + kIdleFor);
  slot->idle.push_back(std::move(upstream));
  ++total_;
}

void Pool::lose(Upstream& upstream) {
  for (auto& slot : slots_)
    if (auto at = std::ranges::find(slot->idle, &upstream, &std::unique_ptr<Upstream>::get); at != slot->idle.end()) {
      slot->idle.erase(at);
      --total_;
      return;
    }
}

void Pool::close_all() {
  slots_.clear();
  total_ = 0;
}
} // namespace intertie::net
