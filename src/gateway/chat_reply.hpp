// Writes an answer to an OpenAI Chat client over an Exchange: events relayed as they are, put together for a client that
// asked for no stream, or taken apart for one that did. Holds back nothing but what must be added at the end.
#pragma once

#include <array>
#include <string>

#include "engine/serve.hpp"
#include "net/exchange.hpp"
#include "wire/chat.hpp"

namespace intertie::gateway {

class ChatReply final : public engine::Reply {
 public:
  ChatReply(net::Exchange& exchange, const Ask& ask, const Clock& clock);
  void identify(CallId id) override { id_ = to_string(id); }
  void answering(const engine::Answering& answering) override;
  Task<Result<>> write(const Delta& delta) override;
  Task<Result<>> keep_alive() override;
  Task<Result<>> finish(const Usage& usage) override;
  Task<Result<>> refuse(const Failure& failure) override;
  Task<Result<>> routed(const route::Plan& plan, CallId id) override;
  bool committed() const override { return exchange_.started(); }
  void restart() override {
    aggregator_ = {};
    collected_ = false;
  }

 private:
  Task<Result<>> convert(const Delta& delta);
  Task<Result<>> relay(std::string_view events);
  std::string_view without_done(const Delta& delta);
  std::span<const net::Header> headers();

  net::Exchange& exchange_;
  const Clock& clock_;
  const bool stream_;
  const bool include_usage_;
  bool done_sent_ = false;
  bool usage_sent_ = false;
  bool collected_ = false; // events wait in aggregator_
  std::string id_, place_, model_;
  std::shared_ptr<const std::string> reason_;
  std::array<net::Header, 4> headers_{};
  wire::ChatAggregator aggregator_;
};

// The answer to a request that never became an Ask. `id` may be zero.
Task<Result<>> respond_failure(net::Exchange& exchange, const Failure& failure,
                               std::span<const net::Header> headers = {});

} // namespace intertie::gateway
