#include "gateway/chat_reply.hpp"

#include <algorithm>

#include "core/json.hpp"

namespace intertie::gateway {
namespace {

constexpr std::string_view kDone = "data: [DONE]";
constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

// A header value may hold visible ASCII and spaces only (RFC 9110, 5.5); model names come from clients.
void make_header_safe(std::string& text) {
  text.resize(std::min<std::size_t>(text.size(), 400));
  for (char& c : text)
    if (c < 0x20 || c == 0x7F) c = '?';
}

std::string plan_json(const route::Plan& plan, CallId id) {
  json::Array legs;
  for (const auto& leg : plan.legs) {
    json::Object o;
    o.add("provider", leg.model->provider).add("model", leg.model->name).add("place", to_string(leg.model->place));
    o.add("why", route::to_string(leg.why)).add("estimated_usd", static_cast<double>(leg.estimated_micro_usd) / 1e6);
    legs.raw(o.str());
  }
  json::Object o;
  o.add("object", "intertie.plan").add("decision", to_string(id)).raw("legs", legs.str());
  if (plan.class_known) o.add("class", to_string(plan.data_class));
  else o.null("class");
  return o.str();
}

} // namespace

ChatReply::ChatReply(net::Exchange& exchange, const Ask& ask, const Clock& clock)
    : exchange_(exchange), clock_(clock), stream_(ask.stream), include_usage_(ask.include_usage) {}

void ChatReply::answering(const engine::Answering& a) {
  place_ = to_string(a.place);
  model_.reserve(a.provider.size() + 1 + a.model.size());
  model_.assign(a.provider).append("/").append(a.model);
  make_header_safe(model_);
  reason_ = a.reason;
}

std::span<const net::Header> ChatReply::headers() {
  headers_ = {{{"X-Intertie-Decision", id_},
               {"X-Intertie-Place", place_},
               {"X-Intertie-Model", model_},
               {"X-Intertie-Reason", reason_ ? std::string_view{*reason_} : std::string_view{}}}};
  // A refusal ran nowhere: it has a decision's id and nothing else.
  return std::span<const net::Header>{headers_}.first(place_.empty() ? 1 : headers_.size());
}

// A client that asked for usage gets it before [DONE]; when upstream sent none, both wait for finish().
std::string_view ChatReply::without_done(const Delta& delta) {
  usage_sent_ = usage_sent_ || delta.usage.has_value();
  auto at = delta.last || delta.finished ? delta.raw.find(kDone) : std::string_view::npos;
  if (at == std::string_view::npos) return delta.raw;
  if (include_usage_ && !usage_sent_) return delta.raw.substr(0, at);
  done_sent_ = true;
  return delta.raw;
}

Task<Result<>> ChatReply::relay(std::string_view events) {
  if (events.empty()) co_return Result<>{};
  if (exchange_.started()) co_return co_await exchange_.write(events);
  auto started = co_await exchange_.start(200, "text/event-stream; charset=utf-8", headers(), events);
  exchange_.release_request(); // a long stream needs the request no more
  co_return started;
}

// The two common ways aren't coroutines themselves: each event would pay for one more frame.
Task<Result<>> ChatReply::write(const Delta& delta) {
  bool whole = delta.shape == DeltaShape::Whole;
  if (stream_ && !whole && exchange_.started() && !delta.raw.empty()) return exchange_.write(without_done(delta));
  if (!stream_ && whole) return exchange_.respond(200, "application/json", headers(), delta.raw);
  return convert(delta);
}

Task<Result<>> ChatReply::convert(const Delta& delta) {
  if (stream_ && delta.shape != DeltaShape::Whole) co_return co_await relay(without_done(delta));
  if (stream_) {
    auto events = wire::chat_answer_as_events(delta.raw, include_usage_);
    if (!events) co_return std::unexpected(std::move(events).error());
    done_sent_ = usage_sent_ = true;
    co_return co_await relay(*events);
  }
  collected_ = true;
  co_return aggregator_.feed(delta.raw);
}

Task<Result<>> ChatReply::keep_alive() {
  if (!stream_) co_return Result<>{};
  co_return co_await relay(": ping\n\n");
}

Task<Result<>> ChatReply::finish(const Usage& usage) {
  auto now = std::chrono::duration_cast<seconds>(clock_.wall().time_since_epoch()).count();
  if (!stream_) {
    if (!collected_) co_return Result<>{};
    auto body = aggregator_.finish("chatcmpl-" + id_, model_, now, usage);
    co_return co_await exchange_.respond(200, "application/json", headers(), body);
  }
  std::string rest;
  if (include_usage_ && !usage_sent_) rest = wire::render_chat_usage_event("chatcmpl-" + id_, model_, now, usage);
  if (!done_sent_) rest += kDoneEvent;
  if (auto written = co_await relay(rest); !written) co_return written;
  co_return co_await exchange_.finish();
}

Task<Result<>> ChatReply::refuse(const Failure& failure) {
  if (!exchange_.started()) co_return co_await respond_failure(exchange_, failure, headers());
  if (done_sent_) co_return co_await exchange_.finish();
  if (auto written = co_await exchange_.write(wire::render_chat_failure_event(failure)); !written) co_return written;
  co_return co_await exchange_.finish();
}

Task<Result<>> ChatReply::routed(const route::Plan& plan, CallId id) {
  co_return co_await exchange_.respond(200, "application/json", headers(), plan_json(plan, id));
}

Task<Result<>> respond_failure(net::Exchange& exchange, const Failure& failure, std::span<const net::Header> headers) {
  std::vector<net::Header> all(headers.begin(), headers.end());
  std::string wait;
  if (failure.retry_after) {
    wait = std::to_string(failure.retry_after->count());
    all.push_back({"Retry-After", wait});
  }
  co_return co_await exchange.respond(facts(failure.kind).status, "application/json", all,
                                      wire::render_chat_failure(failure));
}

} // namespace intertie::gateway
