#include "engine/legs.hpp"

#include <utility>

#include "guard/clear.hpp"

namespace intertie::engine {
namespace {
std::uint32_t micros_since(const Call& call, TimePoint start) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<microseconds>(call.clock.now() - start).count());
}

bool may_run_again(const LegEnd& end, const Call& call, const Reply& reply) {
  return end.failure && !end.client_gone && !call.cancellation.cancelled() && !reply.committed();
}

// The child died under it and no byte was delivered.
bool child_died(const Failure& f) {
  return f.kind == FailureKind::UpstreamBroken || (f.kind == FailureKind::Unavailable && f.code.empty());
}

// How long to wait before the provider is asked once more, if it is.
std::optional<milliseconds> wait_for_retry(LegEnd& end, const Call& call, provider::Health& health, TimePoint until) {
  auto now = call.clock.now();
  auto left = std::chrono::duration_cast<milliseconds>(until - now);
  auto wait = end.opened ? std::nullopt : provider::retry_wait(*end.failure, left, call.id.value);
  if (!wait || health.condition(now) != provider::Condition::Up) return std::nullopt;
  end.retries_spent = !health.retries.take(now);
  if (end.retries_spent) return std::nullopt;
  if (end.failure->fault == Fault::RateLimit) health.failed(*end.failure, now); // the others are to hear of it now
  return wait;
}

LegEnd second_of(LegEnd first, LegEnd second) {
  second.attempts = first.attempts + 1;
  second.retried_after = std::move(first.failure->message);
  return second;
}
} // namespace

Task<LegEnd> run_leg(Call& call, guard::Cleared cleared, provider::Target target, milliseconds keepalive_after,
                     Reply& reply, provider::Opener& opener, TimePoint start) {
  LegEnd end;
  auto last_written = start;
  auto stream = co_await opener.open(std::move(cleared), target, call);
  if (!stream) {
    end.failure = std::move(stream).error();
    co_return end;
  }
  end.opened = true;
  for (;;) {
    auto delta = co_await stream->next();
    if (!delta) {
      end.failure = std::move(delta).error();
      co_return end;
    }
    if (!*delta) co_return end;
    const Delta& piece = **delta;
    if (piece.usage) end.usage = *piece.usage;
    end.pieces += piece.pieces;
    if (end.first_token_us == 0 && piece.shape != DeltaShape::Progress) end.first_token_us = micros_since(call, start);
    bool progress = piece.shape == DeltaShape::Progress;
    if (progress && call.clock.now() - last_written < keepalive_after) continue;
    last_written = progress ? call.clock.now() : last_written;
    // After this write there is no fallback.
    auto written = progress ? co_await reply.keep_alive() : co_await reply.write(piece);
    if (!written) {
      end.client_gone = true;
      end.failure = std::move(written).error();
      co_return end;
    }
  }
}

Task<LegEnd> run_again(Call& call, LegEnd end, LegOrder order, Reply& reply, provider::Opener& opener) {
  auto until = order.begun + order.target.budget;
  // The local engine twice at most: once for the answer that broke, once for a connection to a child that was dying.
  for (std::uint32_t most = order.health == nullptr ? 3 : 2; end.attempts < most;) {
    if (!may_run_again(end, call, reply)) break;
    if (order.health == nullptr && !child_died(*end.failure)) break;
    if (order.health != nullptr) {
      auto wait = wait_for_retry(end, call, *order.health, until);
      if (!wait) break;
      auto waited = co_await opener.pause(*wait, call);
      if (!waited) break;
      order.target.budget = std::chrono::duration_cast<milliseconds>(until - call.clock.now());
    }
    auto cleared = guard::clear(order.ask, order.findings, order.matrix, order.target.trust);
    if (!cleared) break;
    reply.restart();
    auto next =
        co_await run_leg(call, std::move(*cleared), order.target, order.keepalive_after, reply, opener, order.begun);
    end = second_of(std::move(end), std::move(next));
  }
  co_return end;
}

Usage settle(const LegEnd& end, const Ask& ask) {
  if (end.usage.measured && (end.usage.prompt_tokens > 0 || end.usage.completion_tokens > 0)) return end.usage;
  Usage usage;
  if (end.pieces == 0 && end.failure) return usage; // nothing came, nothing is billed
  usage.prompt_tokens = ask.estimated_prompt_tokens();
  usage.completion_tokens = end.pieces; // providers send about one token an event
  return usage;
}

} // namespace intertie::engine
