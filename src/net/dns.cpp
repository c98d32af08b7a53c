#include "net/dns.hpp"

#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <boost/asio/post.hpp>

#include "core/text.hpp"
#include "net/socket.hpp"
#include "net/wait.hpp"

namespace intertie::net {
namespace {
constexpr std::size_t kMostCached = 256;
constexpr seconds kFresh{60}, kFreshFailure{2};
} // namespace

// Shared by the waiting coroutine and the resolver, which can't be called back: whichever ends last frees it.
struct Dns::Question final : Swept, std::enable_shared_from_this<Dns::Question> {
  Question(Worker::Core& core, TimePoint until) : worker(core), deadline(until) {}
  Pace sweep(TimePoint now) override {
    if (deadline <= now) end_later(Wake::Timeout);
    return Pace::Urgent;
  }
  void end_later(Wake wake) {
    asio::post(worker.context, [self = shared_from_this(), wake] {
      if (self->waiter) self->waiter.wake(wake);
    });
  }
  Worker::Core& worker;
  TimePoint deadline;
  Waiter<Wake> waiter;
  std::optional<Answer> answer;
};

Result<Dns::Addresses> Dns::result_of(const Answer& answer, const std::string& host) const {
  if (!answer.addresses.empty()) return answer.addresses;
  return fail(FailureKind::Unavailable, Fault::Transient,
              fmt::format("the host {} was not found ({}): check its name and the network", host, answer.error));
}

std::optional<Result<Dns::Addresses>> Dns::known(const std::string& host) {
  boost::system::error_code error;
  auto address = asio::ip::make_address(host, error);
  if (!error) return Addresses{address};
  if (text::equal_ignoring_case(host, "localhost"))
    return Addresses{asio::ip::address_v4::loopback(), asio::ip::address_v6::loopback()};
  auto found = cache_.find(host);
  if (found == cache_.end() || found->second.expires <= worker_.now()) return std::nullopt;
  return result_of(found->second, host);
}

Task<Result<Dns::Addresses>> Dns::ask(std::string host, TimePoint deadline, Cancellation& cancellation) {
  auto question = std::make_shared<Question>(worker_, deadline);
  resolver_.async_resolve(host, "", [question](boost::system::error_code error, const auto& results) {
    Answer answer;
    for (const auto& entry : results) {
      auto address = entry.endpoint().address();
      if (std::ranges::find(answer.addresses, address) == answer.addresses.end()) answer.addresses.push_back(address);
    }
    if (answer.addresses.empty()) answer.error = error ? error.message() : "no addresses";
    question->answer = std::move(answer);
    if (question->waiter) question->waiter.wake(Wake::Ready);
  });
  worker_.add(*question);
  worker_.want_fast_sweep();
  Wake wake;
  {
    OnCancel on_cancel(
        cancellation, [](void* q) { static_cast<Question*>(q)->end_later(Wake::Closed); }, question.get());
    wake = co_await question->waiter.wait();
  }
  question->unlink();
  if (wake == Wake::Timeout)
    co_return fail(FailureKind::Timeout, Fault::Transient, fmt::format("looking up the host {} took too long", host));
  if (wake == Wake::Closed || !question->answer)
    co_return fail(FailureKind::Cancelled, Fault::Client, "the request was cancelled");
  Answer answer = std::move(*question->answer);
  answer.expires = worker_.now() + (answer.addresses.empty() ? kFreshFailure : kFresh);
  auto result = result_of(answer, host);
  if (cache_.size() >= kMostCached) cache_.clear();
  cache_.insert_or_assign(host, std::move(answer));
  co_return result;
}
} // namespace intertie::net
