#include "net/sideline.hpp"

#include <future>
#include <latch>
#include <stdexcept>

#include "net/rig_test.hpp"

namespace intertie::net {
namespace {
using Text = Result<std::string>;

Task<Text> told(Sideline& sideline, std::function<Text()> work) {
  co_return co_await sideline.offload(std::move(work));
}
// Runs on the sideline's thread; what it is given must be its own.
std::function<Text()> waits_for(std::shared_ptr<std::latch> latch) {
  return [latch] {
    latch->wait();
    return Text{"done"};
  };
}
Task<void> carry(Sideline& sideline, std::function<Text()> work, std::shared_ptr<std::promise<Text>> out) {
  auto result = co_await sideline.offload(std::move(work));
  out->set_value(std::move(result));
}

struct SidelineRig {
  ~SidelineRig() {
    rig.stop(milliseconds{200});
    sideline.reset();
  }
  Rig rig;
  std::optional<Sideline> sideline{std::in_place, rig.worker};
};

TEST(Sideline, BlocksNobodyElse) {
  SidelineRig it;
  auto latch = std::make_shared<std::latch>(1);
  auto slow = std::make_shared<std::promise<Text>>();
  auto result = slow->get_future();
  it.rig.worker.spawn(carry(*it.sideline, waits_for(latch), slow));
  // The worker goes on while the sideline is stuck …
  auto thread = it.rig.run<std::thread::id>(
      [](Client&, Worker&) -> Task<std::thread::id> { co_return std::this_thread::get_id(); });
  EXPECT_NE(thread, std::this_thread::get_id());
  EXPECT_EQ(result.wait_for(seconds{0}), std::future_status::timeout);
  latch->count_down();
  EXPECT_EQ(result.get().value(), "done"); // … and gets its result in the end.
}
TEST(Sideline, WorksElsewhereAndComesBack) {
  SidelineRig it;
  struct Where {
    std::thread::id work, after;
  };
  auto where = it.rig.run<Where>([&](Client&, Worker&) -> Task<Where> {
    auto at = std::make_shared<std::thread::id>();
    auto done = co_await told(*it.sideline, [at] {
      *at = std::this_thread::get_id();
      return Text{"x"};
    });
    EXPECT_TRUE(done);
    co_return Where{*at, std::this_thread::get_id()};
  });
  EXPECT_NE(where.work, where.after);
  EXPECT_NE(where.work, std::thread::id{});
}
TEST(Sideline, HandsFailuresBack) {
  SidelineRig it;
  auto thrown = it.rig.run<Text>(
      [&](Client&, Worker&) { return told(*it.sideline, []() -> Text { throw std::runtime_error("no"); }); });
  EXPECT_EQ(thrown.error().kind, FailureKind::Internal);
  auto failed = it.rig.run<Text>([&](Client&, Worker&) {
    return told(*it.sideline, []() -> Text { return fail(FailureKind::NotFound, Fault::Client, "nothing there"); });
  });
  EXPECT_EQ(failed.error().message, "nothing there");
}
TEST(Sideline, RefusesWhenTooManyWait) {
  SidelineRig it;
  auto latch = std::make_shared<std::latch>(1), started = std::make_shared<std::latch>(1);
  std::vector<std::future<Text>> results;
  auto add = [&](std::function<Text()> work) {
    auto promise = std::make_shared<std::promise<Text>>();
    results.push_back(promise->get_future());
    it.rig.worker.spawn(carry(*it.sideline, std::move(work), promise));
  };
  add([latch, started] {
    started->count_down();
    latch->wait();
    return Text{"done"};
  });
  started->wait();
  for (std::size_t i = 0; i < Sideline::kWaiting + 3; ++i) add(waits_for(latch));
  for (std::size_t i = results.size() - 3; i < results.size(); ++i) EXPECT_EQ(results[i].get().error().code, "busy");
  latch->count_down();
  for (std::size_t i = 0; i + 3 < results.size(); ++i) EXPECT_TRUE(results[i].get());
}
TEST(Sideline, EndsWithJobsThatNobodyAwaitsAnyMore) {
  auto latch = std::make_shared<std::latch>(1), started = std::make_shared<std::latch>(1);
  {
    SidelineRig it;
    auto promise = std::make_shared<std::promise<Text>>();
    it.rig.worker.spawn(carry(
        *it.sideline,
        [latch, started] {
          started->count_down();
          latch->wait();
          return Text{"late"};
        },
        promise));
    started->wait();
    for (int i = 0; i < 3; ++i) it.rig.worker.spawn(carry(*it.sideline, waits_for(latch), promise));
    it.rig.run<int>([](Client&, Worker&) -> Task<int> { co_return 0; });
    it.rig.worker.context().stop(); // as when work did not end in time
    latch->count_down();
  }
  SUCCEED(); // the sanitizers say whether something was left behind
}
} // namespace
} // namespace intertie::net
