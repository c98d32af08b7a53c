#include "provider/answer.hpp"

#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "wire/chat.hpp"
#include "wire/filter.hpp"
#include "wire/sse.hpp"

namespace intertie::provider {
namespace {

class EventSource final : public Source<Delta> {
 public:
  EventSource(net::Reply reply, std::string provider, bool drop_usage, std::unique_ptr<LocalSlot> slot,
              std::optional<wire::StreamRepair> repair, std::unique_ptr<wire::CallEvents> calls)
      : reply_(std::move(reply)),
        provider_(std::move(provider)),
        slot_(std::move(slot)),
        repair_(std::move(repair)),
        calls_(std::move(calls)),
        drop_usage_(drop_usage) {}

  Task<Result<std::optional<Delta>>> next() override {
    if (done_) co_return std::optional<Delta>{};
    if (slot_) slot_->progress();
    for (;;) {
      auto bytes = reply_.poll();
      if (!bytes) co_return std::unexpected(of_provider(provider_, std::move(bytes).error()));
      if (!*bytes) {
        reply_.woke(co_await reply_.wait());
        continue;
      }
      auto delta = take(**bytes);
      if (!delta) co_return std::unexpected(of_provider(provider_, std::move(delta).error()));
      if (*delta) co_return delta;
    }
  }

 private:
  // What these bytes complete, if anything; empty bytes are the end.
  Result<std::optional<Delta>> take(std::string_view bytes) {
    Delta delta;
    if (bytes.empty()) {
      delta.raw = framer_.end();
      done_ = true;
    } else {
      TRY(delta.raw, framer_.feed(bytes));
      if (delta.raw.empty()) return std::optional<Delta>{};
    }
    if (slot_) slot_->progress();
    if (!delta.raw.empty()) TRY_VOID(wire::read_chat_events(delta.raw, delta));
    pieces_ += delta.pieces;
    finished_ = finished_ || delta.finished;
    // [DONE] without a finish_reason is forgetful, an end without either is a cut, and [DONE] alone is no answer.
    bool forgetful = repair_ && pieces_ > 0 && delta.last;
    done_ = done_ || delta.last;
    if (done_ && !finished_ && !forgetful)
      return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer,
                  "the answer ended early: the stream was closed without a finish_reason");
    if (slot_ && delta.timings) slot_->finished(*delta.timings);
    delta.last = done_;
    if (calls_) { TRY(delta.raw, calls_->rewrite(delta.raw)); }
    if (repair_) delta.raw = repair_->put_right(delta.raw, finished_ || !delta.last); // nothing to add before [DONE]
    if (slot_ || drop_usage_) {
      delta.raw = wire::client_events(delta.raw, drop_usage_, kept_);
      if (delta.raw.empty()) delta.shape = DeltaShape::Progress;
    }
    if (done_) slot_.reset();
    if (slot_) slot_->pausing();
    return delta;
  }
  net::Reply reply_;
  std::string provider_;
  std::unique_ptr<LocalSlot> slot_;
  std::optional<wire::StreamRepair> repair_;
  std::unique_ptr<wire::CallEvents> calls_;
  wire::SseFramer framer_;
  std::string kept_;
  std::uint32_t pieces_ = 0;
  bool drop_usage_;
  bool finished_ = false;
  bool done_ = false;
};

class WholeSource final : public Source<Delta> {
 public:
  WholeSource(net::Reply reply, const Delta& answer) : reply_(std::move(reply)), answer_(answer) {
    answer_.last = true;
  }
  Task<Result<std::optional<Delta>>> next() override {
    if (std::exchange(given_, true)) co_return std::optional<Delta>{};
    co_return answer_;
  }

 private:
  net::Reply reply_; // owns the bytes
  Delta answer_;
  bool given_ = false;
};

struct StatusRow {
  int status;
  FailureKind kind;
  Fault fault;
  std::string_view says;
  std::string_view code;
};
// By RFC 9110 and the providers' own documentation; what is not listed goes by its hundred.
constexpr std::array kStatuses{
    StatusRow{400, FailureKind::BadRequest, Fault::Client, "refused the request", "upstream_refused"},
    StatusRow{401, FailureKind::Unauthorized, Fault::Auth, "refused the key", "key_refused"},
    StatusRow{402, FailureKind::Denied, Fault::Auth, "wants payment: the account has no credit left", "no_credit"},
    StatusRow{403, FailureKind::Denied, Fault::Auth, "does not allow this key to do that", "key_not_allowed"},
    StatusRow{404, FailureKind::NotFound, Fault::Client, "does not know this model or path", "model_not_found"},
    StatusRow{408, FailureKind::Timeout, Fault::Transient, "timed out", "timeout"},
    StatusRow{413, FailureKind::TooLarge, Fault::ContextTooLong, "says the request is too large", "request_too_large"},
    StatusRow{422, FailureKind::BadRequest, Fault::Client, "refused the request", "upstream_refused"},
    StatusRow{429, FailureKind::RateLimited, Fault::RateLimit, "is limiting the rate", "rate_limit_exceeded"},
    StatusRow{503, FailureKind::Unavailable, Fault::Transient, "is overloaded or down", "unavailable"},
    StatusRow{504, FailureKind::Timeout, Fault::Transient, "timed out", "timeout"},
    StatusRow{529, FailureKind::Unavailable, Fault::RateLimit, "is overloaded", "unavailable"},
};
// 429 as well, but waiting does not help (OpenAI's error codes).
constexpr StatusRow kNoQuota{429, FailureKind::RateLimited, Fault::Auth, "has no quota left for this account",
                             "insufficient_quota"};
StatusRow row_of(int status) {
  for (const auto& row : kStatuses)
    if (row.status == status) return row;
  if (status >= 500) return {status, FailureKind::UpstreamRefused, Fault::Transient, "failed", "upstream_failed"};
  if (status >= 400) return {status, FailureKind::BadRequest, Fault::Client, "refused the request", "upstream_refused"};
  if (status >= 300)
    return {status, FailureKind::UpstreamBroken, Fault::BrokenAnswer,
            "points elsewhere, and redirects aren't followed: is its base_url right?", "upstream_broken"};
  return {status, FailureKind::UpstreamBroken, Fault::BrokenAnswer, "answered in a way that makes no sense here",
          "upstream_broken"};
}

bool has_any(std::string_view body, std::initializer_list<std::string_view> marks) {
  for (auto mark : marks)
    if (body.find(mark) != std::string_view::npos) return true;
  return false;
}

} // namespace

Failure of_provider(std::string_view provider, Failure failure) {
  if (!provider.empty() && failure.kind != FailureKind::Cancelled)
    failure.message = fmt::format("{}: {}", provider, failure.message);
  return failure;
}

std::unique_ptr<Source<Delta>> event_source(net::Reply reply, std::string provider, bool drop_usage,
                                            std::unique_ptr<LocalSlot> slot, std::optional<wire::StreamRepair> repair,
                                            std::unique_ptr<wire::CallEvents> calls) {
  return std::make_unique<EventSource>(std::move(reply), std::move(provider), drop_usage, std::move(slot),
                                       std::move(repair), std::move(calls));
}
std::unique_ptr<Source<Delta>> whole_source(net::Reply reply, const Delta& answer) {
  return std::make_unique<WholeSource>(std::move(reply), answer);
}

Failure classify(std::string_view provider, int status, std::string_view content_type, std::string_view retry_after,
                 std::string_view body) {
  auto row = row_of(status);
  bool is_json = content_type.find("json") != std::string_view::npos && body.starts_with('{');
  if (is_json && row.fault == Fault::Client &&
      has_any(body, {"context_length_exceeded", "exceed_context_size_error", "maximum context length"}))
    row.fault = Fault::ContextTooLong;
  if (is_json && status == 429 && has_any(body, {"insufficient_quota"})) row = kNoQuota;
  if (is_json && row.fault == Fault::Client && has_any(body, {"\"content_filter\"", "content_policy_violation"}))
    row.fault = Fault::PolicyRefusal;
  Failure failure{.kind = row.kind,
                  .fault = row.fault,
                  .message = fmt::format("{} {} (HTTP {})", provider, row.says, status),
                  .code = std::string(row.code),
                  .param = {}};
  if (row.fault == Fault::Auth)
    failure.message += fmt::format("; check it with `intertie providers test {}`", provider);
  int wait = 0;
  if (auto [end, error] = std::from_chars(retry_after.data(), retry_after.data() + retry_after.size(), wait);
      error == std::errc{} && wait >= 0)
    failure.retry_after = seconds{std::min(wait, 3600)};
  failure.upstream_status = status;
  // Whose key it is, the client can't know: there our own words help more than the provider's.
  if (is_json && row.fault != Fault::Auth) failure.upstream_body = std::string(body);
  return failure;
}

} // namespace intertie::provider
