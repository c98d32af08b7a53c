// The mechanics of the supervisor, against an engine that misbehaves on demand (tests/fake_engine).
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "local/test_rig.hpp"

#ifdef INTERTIE_FAKE_ENGINE
namespace intertie::local {
namespace {
constexpr std::string_view kChat = R"({"messages":[{"role":"user","content":"Hi"}],"max_tokens":8})";
constexpr std::string_view kStream = R"({"messages":[{"role":"user","content":"Hi"}],"stream":true,"max_tokens":8})";

class Fakes : public ::testing::Test {
 protected:
  Fakes() { rig.settings.engine = INTERTIE_FAKE_ENGINE; }
  void model(const std::string& name, const std::string& misbehaviour = {}, ModelFlags flags = {}) {
    rig.add_tiny(name);
    if (!misbehaviour.empty()) flags.arguments = {"--fake", misbehaviour};
    rig.settings.flags.emplace_back(name, flags);
  }
  static bool gone(int pid) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    return !std::getline(stat, text) || text.find(") Z") != std::string::npos;
  }
  Rig rig;
};

TEST_F(Fakes, ChildSeesNothingOfOursAndNoNetwork) {
  model("m");
  ::setenv("LLAMA_ARG_CTX_SIZE", "1", 1);
  rig.start();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  auto seen = rig.ask(*lease, "/environment");
  ASSERT_TRUE(seen);
  ::unsetenv("LLAMA_ARG_CTX_SIZE");
  EXPECT_EQ(seen->body.find("LLAMA_ARG"), std::string::npos) << seen->body;
  for (const auto* part :
       {"\"death\":9", "\"core\":0", "\"umask\":63", "\"leader\":1", "\"OMP_WAIT_POLICY\"", "\"oom\":300"})
    EXPECT_NE(seen->body.find(part), std::string::npos) << part << " in " << seen->body;
  EXPECT_EQ(seen->body.find("\"nice\":0"), std::string::npos);
  EXPECT_NE(seen->body.find("\"highest_fd\":2"), std::string::npos) << seen->body;
  auto tried = rig.ask(*lease, "/egress");
  ASSERT_TRUE(tried);
  for (const auto* name : {"tcp", "udp", "tcp6", "netlink", "packet"})
    EXPECT_EQ(tried->body.find("\"" + std::string(name) + "\":0"), std::string::npos) << name << " in " << tried->body;
  EXPECT_NE(tried->body.find("\"unix\":0"), std::string::npos) << tried->body;
  struct stat facts{};
  ASSERT_EQ(::stat(lease->socket().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700U);
}
TEST_F(Fakes, CrowdedMachineGetsFewerThreadsAndAllOfThemLater) {
  auto cores = static_cast<int>(std::thread::hardware_concurrency());
  model("m");
  rig.settings.threads = 0;
  rig.limits.cpu_pressure = rig.dir + "/cpu";
  auto pressure = [&](const char* percent) {
    std::ofstream(rig.limits.cpu_pressure) << "some avg10=" << percent << " avg60=0.00 avg300=0.00 total=1\n";
  };
  auto threads = [&] {
    std::ifstream file("/proc/" + std::to_string(rig.status("m").pid) + "/cmdline");
    std::string before, word;
    for (; std::getline(file, word, '\0'); before = word)
      if (before == "-tb") return std::stoi(word);
    return 0;
  };
  auto answer_at = [&](double rate) {
    auto lease = rig.acquire("m");
    ASSERT_TRUE(lease) << lease.error().message;
    lease->finished({.prompt_ms = 10, .output_ms = 20'000 / rate, .prompt_tokens = 100, .output_tokens = 20});
  };
  pressure("90.00");
  rig.start();
  answer_at(100);
  EXPECT_EQ(threads(), cores);
  auto first = rig.status("m").pid;
  for (int i = 0; i < 3; ++i) answer_at(10);
  // One thread has no half: there, its child goes on.
  ASSERT_TRUE(rig.until([&] {
    auto now = rig.status("m");
    return now.state == State::Ready && (now.pid != first) == (cores > 1);
  }));
  EXPECT_EQ(threads(), std::max(1, cores / 2));
  pressure("1.00");
  ASSERT_TRUE(rig.engines->unload("m"));
  ASSERT_TRUE(rig.until_state("m", State::Stopped));
  answer_at(100);
  EXPECT_EQ(threads(), cores);
}
TEST_F(Fakes, WaitsForASlowLoad) {
  model("m", "load=300");
  rig.start();
  auto started = rig.clock.now();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  EXPECT_GE(rig.clock.now() - started, milliseconds{290});
}
TEST_F(Fakes, GivesUpOnALoadThatNeverEnds) {
  model("m", "load=600000");
  rig.limits.start = milliseconds{200};
  rig.limits.terminate = milliseconds{200};
  rig.start();
  ASSERT_TRUE(rig.until([&] { return rig.engines->load("m").has_value(); }));
  ASSERT_TRUE(rig.until_state("m", State::Failed));
  EXPECT_NE(rig.status("m").problem.find("not ready after"), std::string::npos) << rig.status("m").problem;
}
TEST_F(Fakes, KnownCrashesFailAtOnceWithTheFix) {
  model("a", "crash=bounds");
  model("b", "crash=kv");
  model("c", "crash=argument");
  rig.start();
  for (auto [name, part] : {std::pair{"a", "download it again"}, {"b", "smaller `context`"}, {"c", "arguments"}}) {
    auto lease = rig.acquire(name);
    ASSERT_FALSE(lease);
    EXPECT_EQ(lease.error().kind, FailureKind::Unavailable);
    EXPECT_EQ(lease.error().fault, Fault::LocalResource);
    EXPECT_NE(lease.error().message.find(part), std::string::npos) << lease.error().message;
    EXPECT_EQ(rig.status(name).state, State::Failed);
  }
}
TEST_F(Fakes, CrashesBySignalAreTriedAgain) {
  model("m", "signal=11");
  rig.start();
  auto lease = rig.acquire("m", milliseconds{1200});
  ASSERT_FALSE(lease);
  EXPECT_EQ(lease.error().kind, FailureKind::Timeout);
  EXPECT_NE(rig.status("m").problem.find("signal 11"), std::string::npos) << rig.status("m").problem;
}
TEST_F(Fakes, KilledForMemoryRunsWithHalfTheContext) {
  model("m", "oom=600", ModelFlags{.context = 1024});
  rig.start();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  EXPECT_EQ(rig.status("m").facts.context, 512U);
}
TEST_F(Fakes, ProbeRefusesWhatDoesNotFitItsDescription) {
  model("a", "small");
  model("b", "broken");
  model("c", "no-grammar");
  rig.start();
  EXPECT_NE(rig.acquire("a").error().message.find("instead of"), std::string::npos);
  EXPECT_NE(rig.acquire("b").error().message.find("can't complete"), std::string::npos);
  auto lease = rig.acquire("c");
  ASSERT_TRUE(lease) << lease.error().message;
  EXPECT_EQ(rig.status("c").facts.caps & Cap::JsonSchema, Cap::None);
}
TEST_F(Fakes, StopsTheDeafAndTheStone) {
  rig.limits.terminate = milliseconds{100};
  for (const auto* mode : {"deaf", "stone"}) {
    model(mode, mode);
    rig.start();
    {
      auto lease = rig.acquire(mode);
      ASSERT_TRUE(lease) << lease.error().message;
    }
    auto pid = rig.status(mode).pid;
    ASSERT_TRUE(rig.until([&] { return rig.status(mode).running == 0; }));
    ASSERT_TRUE(rig.engines->unload(mode));
    ASSERT_TRUE(rig.until_state(mode, State::Stopped));
    EXPECT_TRUE(gone(pid));
    rig.engines.reset();
  }
}
TEST_F(Fakes, SilentAnswerIsAStallAndTheNextIsServed) {
  model("m", "hang");
  rig.limits.stall = milliseconds{200};
  rig.limits.health_every = milliseconds{50};
  rig.start();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  auto pid = rig.status("m").pid;
  auto answer = rig.ask(*lease, "/v1/chat/completions", std::string(kStream));
  ASSERT_TRUE(rig.until([&] { return gone(pid); }));
  { auto released = std::move(*lease); }
  auto next = rig.acquire("m");
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_NE(rig.status("m").pid, pid);
}
TEST_F(Fakes, ProgressKeepsAStalledLookingAnswerAlive) {
  model("m");
  rig.limits.stall = milliseconds{150};
  rig.limits.health_every = milliseconds{20};
  rig.start();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  auto pid = rig.status("m").pid;
  auto until = rig.clock.now() + milliseconds{500};
  ASSERT_TRUE(rig.until([&] {
    lease->progress();
    return rig.clock.now() > until;
  }));
  EXPECT_EQ(rig.status("m").pid, pid);
  EXPECT_EQ(rig.status("m").state, State::Ready);
}
TEST_F(Fakes, WedgedChildIsKilledByItsHealth) {
  model("m", "wedge");
  rig.limits.health_every = rig.limits.health_patience = milliseconds{50};
  rig.start();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  auto pid = rig.status("m").pid;
  ASSERT_TRUE(rig.ask(*lease, "/v1/chat/completions", std::string(kChat)));
  lease->finished({});
  { auto released = std::move(*lease); }
  EXPECT_TRUE(rig.until([&] { return gone(pid); }));
  EXPECT_TRUE(rig.acquire("m"));
}
TEST_F(Fakes, SlotThatGoesOnAfterItsReaderIsFound) {
  model("m", "stuck-slot,token=30,events=1000");
  rig.limits.suspect = milliseconds{200};
  rig.limits.health_every = milliseconds{50};
  rig.start();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  auto pid = rig.status("m").pid;
  auto cut = rig.ask(*lease, "/v1/chat/completions", std::string(kStream), milliseconds{100});
  EXPECT_FALSE(cut);
  { auto released = std::move(*lease); }
  EXPECT_TRUE(rig.until([&] { return gone(pid); }));
  EXPECT_TRUE(rig.acquire("m"));
}
TEST_F(Fakes, DeathInTheMiddleCostsOneAnswer) {
  model("m", "die=2");
  rig.start();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  auto answer = rig.ask(*lease, "/v1/chat/completions", std::string(kStream));
  EXPECT_TRUE(!answer || answer->body.find("[DONE]") == std::string::npos);
  auto died = rig.clock.now();
  { auto released = std::move(*lease); }
  auto next = rig.acquire("m");
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_LT(rig.clock.now() - died, seconds{3});
}
TEST_F(Fakes, QueueIsFairBoundedAndHasDeadlines) {
  model("m");
  rig.settings.queue_length = 2;
  rig.start();
  auto first = rig.acquire("m");
  ASSERT_TRUE(first) << first.error().message;
  std::vector<int> order;
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<std::optional<Result<Lease>>> got(3);
  auto ask = [&](std::size_t index, milliseconds patience) {
    calls.push_back(std::make_unique<Call>(rig.make_call(patience)));
    asio::co_spawn(rig.io, rig.engines->acquire("m", *calls.back()),
                   [&, index](const std::exception_ptr&, Result<Lease> lease) {
                     order.push_back(static_cast<int>(index));
                     got[index].emplace(std::move(lease));
                   });
  };
  ask(0, milliseconds{20'000});
  ASSERT_TRUE(rig.until([&] { return rig.status("m").waiting == 1; }));
  ask(1, milliseconds{20'000});
  ASSERT_TRUE(rig.until([&] { return rig.status("m").waiting == 2; }));
  ask(2, milliseconds{20'000});
  ASSERT_TRUE(rig.until([&] { return got[2].has_value(); }));
  ASSERT_FALSE(*got[2]);
  EXPECT_EQ(got[2]->error().kind, FailureKind::RateLimited);
  EXPECT_TRUE(got[2]->error().retry_after.has_value());

  calls[1]->cancellation.fire(CancelReason::ClientGone);
  ASSERT_TRUE(rig.until([&] { return got[1].has_value(); }));
  EXPECT_EQ(got[1]->error().kind, FailureKind::Cancelled);
  got[2].reset();
  ask(2, milliseconds{50});
  ASSERT_TRUE(rig.until([&] { return got[2].has_value(); }));
  EXPECT_EQ(got[2]->error().kind, FailureKind::Timeout);
  EXPECT_FALSE(got[0]);
  { auto released = std::move(*first); }
  ASSERT_TRUE(rig.until([&] { return got[0].has_value(); }));
  EXPECT_TRUE(*got[0]);
}
TEST_F(Fakes, WaitersAreServedInOrder) {
  model("m");
  rig.start();
  auto first = rig.acquire("m");
  ASSERT_TRUE(first) << first.error().message;
  std::vector<int> order;
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 5; ++i) {
    calls.push_back(std::make_unique<Call>(rig.make_call(milliseconds{20'000})));
    asio::co_spawn(rig.io, rig.engines->acquire("m", *calls.back()),
                   [&order, i](const std::exception_ptr&, Result<Lease> lease) {
                     if (lease) order.push_back(i);
                   });
    ASSERT_TRUE(rig.until([&] { return rig.status("m").waiting == i + 1; }));
  }
  { auto released = std::move(*first); }
  ASSERT_TRUE(rig.until([&] { return order.size() == 5; }));
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}
TEST_F(Fakes, EvictionDrainsAndNeverCuts) {
  model("a");
  model("b");
  rig.settings.memory_limit = 45'000'000; // one needs about 36 MB before it is measured
  rig.start();
  auto held = rig.acquire("a");
  ASSERT_TRUE(held) << held.error().message;
  auto pid = rig.status("a").pid;
  auto call = rig.make_call(milliseconds{20'000});
  std::optional<Result<Lease>> other;
  asio::co_spawn(rig.io, rig.engines->acquire("b", call),
                 [&](const std::exception_ptr&, Result<Lease> lease) { other.emplace(std::move(lease)); });
  ASSERT_TRUE(rig.until_state("a", State::Draining));
  auto answer = rig.ask(*held, "/v1/chat/completions", std::string(kChat)); // still whole
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_FALSE(other);
  EXPECT_FALSE(gone(pid));
  { auto released = std::move(*held); }
  ASSERT_TRUE(rig.until([&] { return other.has_value(); }));
  ASSERT_TRUE(*other) << other->error().message;
  EXPECT_EQ(rig.status("a").state, State::Stopped);
  EXPECT_TRUE(gone(pid));
}
TEST_F(Fakes, TwoThatCannotBothFitAlternate) {
  model("a");
  model("b");
  rig.settings.memory_limit = 45'000'000;
  rig.start();
  for (int i = 0; i < 3; ++i)
    for (const auto* name : {"a", "b"}) {
      auto lease = rig.acquire(name);
      ASSERT_TRUE(lease) << lease.error().message;
      EXPECT_TRUE(rig.ask(*lease, "/v1/chat/completions", std::string(kChat)));
    }
}
TEST_F(Fakes, PinnedIsNeverEvicted) {
  model("a", "", ModelFlags{.pinned = true, .keep_alive = seconds{0}});
  model("b");
  rig.settings.memory_limit = 45'000'000;
  rig.start();
  {
    auto lease = rig.acquire("a");
    ASSERT_TRUE(lease) << lease.error().message;
  }
  auto refused = rig.acquire("b");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("pinned"), std::string::npos) << refused.error().message;
  EXPECT_EQ(rig.status("a").state, State::Ready);
  EXPECT_FALSE(rig.status("b").fits);
}
TEST_F(Fakes, WhatCannotFitIsRefusedWithNumbers) {
  model("m");
  rig.settings.memory_limit = 10'000'000;
  rig.start();
  auto refused = rig.acquire("m");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "model_does_not_fit");
  EXPECT_NE(refused.error().message.find("10 MB"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("memory_limit"), std::string::npos);
  EXPECT_EQ(rig.status("m").pid, 0);
}
TEST_F(Fakes, IdleModelsLeaveAfterTheirTime) {
  model("at-once", "", ModelFlags{.keep_alive = seconds{0}});
  model("stays", "", ModelFlags{.keep_alive = seconds{-1}});
  model("later", "", ModelFlags{.keep_alive = seconds{1}});
  rig.start();
  for (const auto* name : {"at-once", "stays", "later"}) {
    auto lease = rig.acquire(name);
    ASSERT_TRUE(lease) << lease.error().message;
    lease->finished({});
  }
  EXPECT_TRUE(rig.until_state("at-once", State::Stopped));
  EXPECT_EQ(rig.status("later").state, State::Ready);
  EXPECT_TRUE(rig.until_state("later", State::Stopped));
  EXPECT_EQ(rig.status("stays").state, State::Ready);
}
TEST_F(Fakes, MissingEngineAndUnknownModelsSayWhatToDo) {
  model("m");
  rig.settings.engine = "none";
  rig.start();
  EXPECT_NE(rig.acquire("m").error().message.find("switched off"), std::string::npos);
  EXPECT_EQ(rig.acquire("nonsense").error().kind, FailureKind::NotFound);
  EXPECT_NE(rig.engines->load("mm").error().message.find("did you mean m?"), std::string::npos);
}
TEST_F(Fakes, BrokenFilesAreShownWithTheirProblem) {
  std::ofstream(rig.models() + "bad.gguf") << "not a model";
  rig.start();
  ASSERT_TRUE(rig.until([&] { return !rig.engines->models().empty(); }));
  EXPECT_NE(rig.status("bad").problem.find("invalid magic"), std::string::npos);
  EXPECT_EQ(rig.acquire("bad").error().kind, FailureKind::Unavailable);
}
TEST_F(Fakes, RescanFindsNewFiles) {
  rig.start();
  EXPECT_FALSE(rig.acquire("m"));
  auto before = rig.engines->version();
  rig.add_tiny("m");
  rig.engines->rescan();
  EXPECT_TRUE(rig.until([&] { return rig.engines->version() != before; }));
  EXPECT_TRUE(rig.acquire("m"));
}
TEST_F(Fakes, EndLeavesNoChildAndNoSocket) {
  model("a");
  model("b", "stone");
  rig.limits.terminate = milliseconds{100};
  rig.start();
  auto a = rig.acquire("a"), b = rig.acquire("b");
  ASSERT_TRUE(a && b);
  int pids[] = {rig.status("a").pid, rig.status("b").pid};
  rig.engines.reset(); // with both leases still out
  for (int pid : pids) EXPECT_TRUE(gone(pid));
  EXPECT_TRUE(std::filesystem::is_empty(rig.settings.runtime_dir));
}
TEST_F(Fakes, EndDoesNotWaitForABackoff) {
  model("m", "signal=11");
  rig.start();
  ASSERT_FALSE(rig.acquire("m", milliseconds{800}));
  auto started = rig.clock.now();
  rig.engines.reset();
  EXPECT_LT(rig.clock.now() - started, milliseconds{500});
}
TEST_F(Fakes, ReaderThatPausesIsNoStall) {
  model("m");
  rig.limits.stall = milliseconds{100};
  rig.limits.health_every = milliseconds{20};
  rig.start();
  auto lease = rig.acquire("m");
  ASSERT_TRUE(lease) << lease.error().message;
  auto pid = rig.status("m").pid;
  lease->pausing();
  auto until = rig.clock.now() + milliseconds{400};
  ASSERT_TRUE(rig.until([&] { return rig.clock.now() > until; }));
  EXPECT_FALSE(gone(pid));
  lease->progress();
  EXPECT_TRUE(rig.until([&] { return gone(pid); }));
}
TEST_F(Fakes, SocketsOfADaemonThatWasKilledAreRemoved) {
  std::filesystem::create_directories(rig.settings.runtime_dir);
  auto dead = ::fork();
  if (dead == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(dead, nullptr, 0), dead);
  auto stale = fmt::format("{}/e-{}-1.sock", rig.settings.runtime_dir, dead);
  auto live = fmt::format("{}/e-{}-1.sock", rig.settings.runtime_dir, ::getppid());
  std::ofstream{stale} << "x";
  std::ofstream{live} << "x";
  model("m");
  rig.start();
  ASSERT_TRUE(rig.acquire("m"));
  EXPECT_FALSE(std::filesystem::exists(stale));
  EXPECT_TRUE(std::filesystem::exists(live));
}
TEST_F(Fakes, MeasuredSpeedsAreLearnedAndKept) {
  model("m");
  rig.limits.calibrate = true;
  rig.start();
  ASSERT_TRUE(rig.until([&] { return rig.engines->load("m").has_value(); }));
  ASSERT_TRUE(rig.until([&] { return rig.status("m").calibrated; }));
  EXPECT_NEAR(rig.status("m").facts.prompt_rate, 500, 1);
  EXPECT_NEAR(rig.status("m").facts.output_rate, 50, 1);
  rig.engines.reset();
  rig.start();
  ASSERT_TRUE(rig.until([&] { return rig.status("m").calibrated; }));
  EXPECT_NEAR(rig.status("m").facts.output_rate, 50, 1);
}
TEST(ChildTest, DiesWithTheThreadsProcess) {
  int report[2];
  ASSERT_EQ(::pipe(report), 0);
  auto middle = ::fork();
  if (middle == 0) {
    auto child = Child::spawn({INTERTIE_FAKE_ENGINE, {"--host", "/tmp/intertie-orphan.sock"}, {}});
    int pid = child ? child->pid() : -1;
    if (::write(report[1], &pid, sizeof pid) > 0) ::raise(SIGKILL);
    ::_exit(1);
  }
  int pid = 0;
  ASSERT_EQ(::read(report[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  ASSERT_EQ(::waitpid(middle, nullptr, 0), middle);
  ASSERT_GT(pid, 0);
  Rig rig;
  EXPECT_TRUE(rig.until([&] {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    return !std::getline(stat, text) || text.find(") Z") != std::string::npos;
  }));
  ::unlink("/tmp/intertie-orphan.sock");
  ::close(report[0]);
  ::close(report[1]);
}
TEST(ChildTest, MissingProgramSaysSo) {
  auto child = Child::spawn({"/nowhere/llama-server", {}, {}});
  ASSERT_FALSE(child);
  EXPECT_NE(child.error().message.find("No such file"), std::string::npos) << child.error().message;
}
TEST(LogRingTest, KeepsTheEnd) {
  LogRing ring(100);
  for (int i = 0; i < 1000; ++i) ring.append("line " + std::to_string(i) + "\n");
  EXPECT_LE(ring.text().size(), 100U);
  EXPECT_TRUE(ring.text().ends_with("line 999\n"));
  ring.append(std::string(500, 'x'));
  EXPECT_EQ(ring.text(), std::string(100, 'x'));
}
} // namespace
} // namespace intertie::local
#endif
