#include "engine/legs.hpp"

#include <utility>

namespace intertie::engine {
namespace {
std::uint32_t micros_since(const Call& call, TimePoint start) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<microseconds>(call.clock.now() - start).count());
}
} // namespace

Task<LegEnd> run_leg(Call& call, guard::Cleared cleared, provider::Target target, milliseconds keepalive_after,
                     Reply& reply, provider::Opener& opener) {
  LegEnd end;
  auto start = call.clock.now();
  auto last_written = start;
  auto stream = co_await opener.open(std::move(cleared), target, call);
  if (!stream) {
    end.failure = std::move(stream).error();
    co_return end;
  }
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

Usage settle(const LegEnd& end, const Ask& ask) {
  if (end.usage.measured && (end.usage.prompt_tokens > 0 || end.usage.completion_tokens > 0)) return end.usage;
  Usage usage;
  if (end.pieces == 0 && end.failure) return usage; // nothing came, nothing is billed
  usage.prompt_tokens = ask.estimated_prompt_tokens();
  usage.completion_tokens = end.pieces; // providers send about one token an event
  return usage;
}

} // namespace intertie::engine
