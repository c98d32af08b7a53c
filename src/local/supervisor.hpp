// The supervisor's inside: every model, its queue and its child, on one thread with one io_context. All members are used
// on that thread only, except `published` and what Waiter and Hold state. engines.cpp is the door to the other threads.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "core/shared.hpp"
#include "local/arguments.hpp"
#include "local/calibrate.hpp"
#include "local/cgroup.hpp"
#include "local/child_http.hpp"
#include "local/children.hpp"
#include "local/classify.hpp"
#include "local/engines.hpp"
#include "local/limits.hpp"
#include "local/stores.hpp"

namespace intertie::local {

using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

// How other threads reach the supervisor, also after it has gone.
class Mailbox {
 public:
  explicit Mailbox(asio::io_context& context) : context_(&context) {}
  template <class F>
  bool post(F&& work) {
    std::lock_guard lock(mutex_);
    if (context_ == nullptr) return false;
    asio::post(*context_, std::forward<F>(work));
    return true;
  }
  void close() {
    std::lock_guard lock(mutex_);
    context_ = nullptr;
  }

 private:
  std::mutex mutex_;
  asio::io_context* context_;
};

class Supervisor;

inline constexpr std::int64_t kPausing = INT64_MAX; // as Grant::last_event: its reader doesn't read

// One slot of one child, as the supervisor remembers it. `last_event` is written by the lease's thread.
struct Grant {
  std::uint64_t run = 0; // which child
  std::string model;
  TimePoint granted;
  std::atomic<std::int64_t> last_event{0}; // ns of the steady clock
  bool finished = false;                   // written before the slot is given back
  bool refused = false;                    // the child accepted no connection; likewise
  Timings timings{};
};

// Owns a grant on another thread: gives the slot back when it dies.
struct Hold {
  Hold(std::shared_ptr<Mailbox> to, Supervisor* whose, std::shared_ptr<Grant> what)
      : mailbox(std::move(to)), supervisor(whose), grant(std::move(what)) {}
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  ~Hold();
  std::shared_ptr<Mailbox> mailbox;
  Supervisor* supervisor; // only used inside a post: while the mailbox is open it lives
  std::shared_ptr<Grant> grant;
  std::string socket;
  Secret key;
};

// Somebody on another thread who waits for a slot.
struct Waiter : std::enable_shared_from_this<Waiter> {
  explicit Waiter(Executor of_caller) : executor(of_caller) {}
  // Supervisor's thread; false when nobody waits any more.
  bool deliver(Result<std::shared_ptr<Hold>> what);
  void leave(); // caller's thread

  std::string model;
  TimePoint arrived, deadline;
  std::optional<Result<std::shared_ptr<Hold>>> result; // caller's thread
  Timer* timer = nullptr;                              // caller's thread: wakes its coroutine

 private:
  std::mutex mutex;
  std::optional<Executor> executor; // until leave()
};

struct Run;

struct Model {
  Entry entry;
  ModelFlags flags;
  State state = State::Stopped;
  std::string problem;
  bool permanent = false; // Failed until something changes
  bool halved = false;    // runs with half its context since it was killed for memory
  Cap caps = Cap::None;
  Backoff backoff;
  Crowding crowding;
  int halvings = 0; // of its threads, while the machine is crowded
  Rates rates;
  std::string key;          // in the RateBook
  std::uint64_t needed = 0; // bytes of memory, predicted or measured
  std::deque<std::shared_ptr<Waiter>> waiting;
  bool wanted = false; // load() was called: start without a waiter
  std::shared_ptr<Run> run;
  TimePoint last_used{};
  double answer_seconds = 0; // running mean of how long a slot is held; 0 = unknown
};

// One life of a child.
struct Run {
  explicit Run(asio::io_context& context) : pulse(context.get_executor()) {}
  std::uint64_t id = 0;
  ChildPlan plan;
  Child child;
  LogRing log;
  Secret key;
  Timer pulse;                // cancelled when something happened
  std::uint64_t reserved = 0; // bytes counted against the budget
  std::vector<std::shared_ptr<Grant>> grants;
  std::vector<std::pair<TimePoint, int>> suspects; // when to look whether an abandoned slot is idle
  std::shared_ptr<Cut> calibration;                // while one runs, it holds a slot
  TimePoint started;
  std::optional<std::uint64_t> memory_kills; // the kernel's count at its start
  bool was_ready = false;
  bool exited = false;
  bool died = false;       // before it came up, by itself
  bool stopping = false;   // asked to: drain, then stop
  bool hurry = false;      // don't drain
  bool killed = false;     // by us, as it was stuck
  bool calibrated = false; // tried in this life
  std::string stuck;       // why
  int health_misses = 0;
  std::size_t used() const { return grants.size() + (calibration ? 1 : 0); }
};

class Supervisor {
 public:
  Supervisor(Settings settings, const Clock& clock, Limits limits);
  ~Supervisor();
  void run(); // the thread's body, until stop() is through

  // Any thread.
  std::shared_ptr<Mailbox> mailbox() { return mailbox_; }
  Snapshot<std::vector<Status>> published{std::vector<Status>{}};
  std::atomic<unsigned> version{0}; // of everything but the counts of running and waiting

  // Supervisor's thread.
  void enqueue(std::shared_ptr<Waiter> waiter);
  void abandon(const std::shared_ptr<Waiter>& waiter);
  void release(const std::shared_ptr<Grant>& grant);
  void rescan();
  void configure(Settings settings);
  void load(const std::string& name);
  void unload(const std::string& name);
  void stop();

 private:
  using ModelPtr = std::shared_ptr<Model>;
  using RunPtr = std::shared_ptr<Run>;

  // schedule.cpp: who runs
  void schedule();
  void grant_waiting(Model& model);
  void want_running(const ModelPtr& model);
  bool make_room(const Model& model, std::uint64_t needed);
  std::uint64_t budget() const;
  std::uint64_t reserved() const;
  std::uint64_t unevictable(const Model& but) const;
  void estimate_need(Model& model) const;
  Failure does_not_fit(const Model& model, std::uint64_t needed) const;
  void fail_waiting(Model& model, const Failure& failure);
  void drain(Model& model, bool hurry);
  seconds predicted_wait(const Model& model) const;

  // life.cpp: one child from spawn to reaping
  Task<> live(ModelPtr model, RunPtr run);
  Task<Result<>> bring_up(ModelPtr model, RunPtr run);
  Task<Result<>> probe(ModelPtr model, RunPtr run);
  Task<> watch(ModelPtr model, RunPtr run);
  Task<> calibrate(ModelPtr model, RunPtr run);
  Task<> check_suspects(ModelPtr model, RunPtr run);
  Task<> end(RunPtr run);
  Task<> read_log(RunPtr run);
  Task<> wait_exit(RunPtr run);
  Task<> pause(RunPtr run, milliseconds most);
  void look_for_stalls(Model& model, Run& run);
  void finish(Model& model, Run& run, const Result<>& came_up);
  Task<> wake_later(ModelPtr model, TimePoint at);

  // supervisor.cpp
  void spawn(Task<> task);
  void publish();      // now: a state or a fact changed
  void publish_soon(); // counts changed: at most every 20 ms
  Task<> publish_later();
  Status status_of(const Model& model, std::uint64_t limit) const;
  ChildPlan plan_for(const Model& model) const;
  ModelFlags flags_for(const std::string& name) const;
  void refresh(Model& model);
  void find_rates(Model& model) const;
  void use_fewer_threads(Model& model);
  ModelPtr find(const std::string& name) const;
  std::string socket_of(std::uint64_t run) const;
  void end_if_done();
  void remove_stale_sockets() const;

  Settings settings_;
  const Clock& clock_;
  Limits limits_;
  asio::io_context context_{1};
  asio::executor_work_guard<Executor> work_{context_.get_executor()};
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>(context_);
  Catalogue catalogue_;
  RateBook book_;
  Cgroups cgroups_;
  double bandwidth_ = 0;
  int cores_ = 1;
  std::string engine_; // program; empty: `engine_problem_`
  std::string engine_problem_;
  std::map<std::string, ModelPtr> models_;
  std::vector<std::string> order_; // as the catalogue lists them
  std::uint64_t runs_ = 0;
  int tasks_ = 0;
  bool publishing_ = false;
  std::set<Timer*> naps_; // of wake_later()
  bool stopping_ = false;
};

} // namespace intertie::local
