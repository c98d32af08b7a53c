#include "local/children.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace intertie::local {
namespace {
#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

constexpr sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}
constexpr sock_filter if_equal(std::uint32_t value, std::uint8_t then, std::uint8_t otherwise) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, then, otherwise);
}
constexpr sock_filter answer(std::uint32_t value) { return BPF_STMT(BPF_RET | BPF_K, value); }

// Sockets of any family but AF_UNIX don't exist for the child; nor do the calls by which it could get at one of somebody
// else (io_uring opens sockets by itself, pidfd_getfd and ptrace borrow them, setns enters another network).
constexpr std::array<sock_filter, 17> kNoSockets{{
    load(offsetof(seccomp_data, arch)),
    if_equal(kArchitecture, 1, 0),
    answer(SECCOMP_RET_KILL_PROCESS),
    load(offsetof(seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000U, 10, 0), // x32 calls
    if_equal(SYS_io_uring_setup, 9, 0),
    if_equal(SYS_pidfd_getfd, 8, 0),
    if_equal(SYS_ptrace, 7, 0),
    if_equal(SYS_process_vm_readv, 6, 0),
    if_equal(SYS_process_vm_writev, 5, 0),
    if_equal(SYS_setns, 4, 0),
    if_equal(SYS_socket, 0, 2),
    load(offsetof(seccomp_data, args[0])),
    if_equal(AF_UNIX, 0, 2),
    answer(SECCOMP_RET_ALLOW),
    answer(SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA)),
    answer(SECCOMP_RET_ERRNO | (EAFNOSUPPORT & SECCOMP_RET_DATA)),
}};

// What the child tells its parent before it becomes the program.
struct Report {
  Isolation isolation{};
  int error = 0;
  int step = 0;
};
constexpr std::array<std::string_view, 5> kSteps{"", "its descriptors", "isolation from the network", "our own death",
                                                 "the program itself"};

struct Prepared {
  const char* program;
  char* const* arguments;
  char* const* environment;
  int log_fd;
  int report_fd;
  int nice;
  pid_t parent;
};

// Between fork and exec only async-signal-safe calls are allowed: no allocation, no locks.
[[noreturn]] void give_up(int fd, Report report, int step) {
  report.error = errno;
  report.step = step;
  [[maybe_unused]] auto written = ::write(fd, &report, sizeof report);
  ::_exit(127);
}

void write_text(const char* path, const char* text) {
  int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] auto written = ::write(fd, text, std::strlen(text));
  ::close(fd);
}

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The filter is enough by itself and costs nothing. A network namespace is the way out where filters are not allowed: the
// kernel makes one in 2 ms on a quiet machine and was seen to take most of a minute on a busy one.
Isolation isolate() {
  Isolation isolation;
  auto rules = kNoSockets;
  sock_fprog program{static_cast<unsigned short>(rules.size()), rules.data()};
  isolation.no_sockets =
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
  if (!isolation.no_sockets) // with privileges the network alone; without, a user namespace makes it possible
    isolation.no_interfaces = ::unshare(CLONE_NEWNET) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
  return isolation;
}

[[noreturn]] void become(const Prepared& it) {
  constexpr int kReportFd = 3;
  Report report;
  reset_signals();
  ::setsid();
  ::umask(077);
  int log = ::fcntl(it.log_fd, F_DUPFD_CLOEXEC, 10);
  int back = ::fcntl(it.report_fd, F_DUPFD_CLOEXEC, 10);
  int nothing = ::open("/dev/null", O_RDONLY);
  if (log < 0 || back < 0 || nothing < 0 || ::dup2(nothing, 0) < 0 || ::dup2(log, 1) < 0 || ::dup2(log, 2) < 0 ||
      ::dup3(back, kReportFd, O_CLOEXEC) < 0)
    give_up(it.report_fd, report, 1);
  ::syscall(SYS_close_range, kReportFd + 1U, ~0U, 0U);
  write_text("/proc/self/oom_score_adj", "300");
  ::setpriority(PRIO_PROCESS, 0, it.nice);
  rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  report.isolation = isolate();
  if (!report.isolation.no_interfaces && !report.isolation.no_sockets) give_up(kReportFd, report, 2);
  // After isolate(): a change of credentials clears it. Then look whether the parent died before it took effect.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != it.parent) give_up(kReportFd, report, 3);
  [[maybe_unused]] auto written = ::write(kReportFd, &report, sizeof report);
  ::execve(it.program, it.arguments, it.environment);
  give_up(kReportFd, report, 4);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// Reads reports until the pipe closes (exec, or the child's end): the last one counts. Bounded: the supervisor waits here.
Report read_report(int fd) {
  constexpr int kPatience = 5000; // ms
  Report last, report;
  last.error = EPIPE;
  for (;;) {
    pollfd ready{fd, POLLIN, 0};
    if (auto polled = ::poll(&ready, 1, kPatience); polled <= 0) {
      if (polled < 0 && errno == EINTR) continue;
      last.error = ETIMEDOUT;
      return last;
    }
    auto got = ::read(fd, &report, sizeof report);
    if (got < 0 && errno == EINTR) continue;
    if (got != static_cast<ssize_t>(sizeof report)) return last;
    last = report;
  }
}
} // namespace

Result<Child> Child::spawn(const SpawnOrder& order) {
  std::vector<std::string> words{order.program};
  words.insert(words.end(), order.arguments.begin(), order.arguments.end());
  auto arguments = pointers(words);
  auto environment = pointers(order.environment);
  int log[2] = {-1, -1}, report[2] = {-1, -1};
  if (::pipe2(log, O_CLOEXEC) != 0 || ::pipe2(report, O_CLOEXEC) != 0) {
    for (int fd : {log[0], log[1], report[0]})
      if (fd >= 0) ::close(fd);
    return fail(FailureKind::Unavailable, Fault::LocalResource,
                "no file descriptors left to start the engine: raise ulimit -n");
  }
  Prepared it{order.program.c_str(), arguments.data(), environment.data(), log[1], report[1], order.nice, ::getpid()};
  auto pid = ::fork();
  if (pid == 0) become(it);
  int fork_error = errno;
  ::close(log[1]);
  ::close(report[1]);
  Child child;
  child.log_fd_ = log[0];
  if (pid < 0) {
    ::close(report[0]);
    return fail(FailureKind::Unavailable, Fault::LocalResource,
                fmt::format("can't start the engine: {}", std::strerror(fork_error)));
  }
  child.pid_ = pid;
  child.exit_fd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  auto said = read_report(report[0]);
  ::close(report[0]);
  ::fcntl(child.log_fd_, F_SETFL, O_NONBLOCK);
  child.isolation_ = said.isolation;
  if (said.error != 0)
    return fail(said.error == ETIMEDOUT ? FailureKind::Timeout : FailureKind::Unavailable, Fault::LocalResource,
                fmt::format("can't start {} (failed at {}): {}", order.program,
                            kSteps[static_cast<std::size_t>(said.step) % kSteps.size()], std::strerror(said.error)));
  if (child.exit_fd_ < 0)
    return fail(FailureKind::Unavailable, Fault::LocalResource,
                "this kernel has no pidfd_open: Linux 5.9 or newer is needed");
  return child;
}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(exit_fd_, other.exit_fd_);
  std::swap(log_fd_, other.log_fd_);
  std::swap(isolation_, other.isolation_);
  std::swap(exit_, other.exit_);
  return *this;
}

Child::~Child() {
  if (pid_ > 0 && !exit_) {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL); // it may not lead its group yet
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {}
  }
  if (exit_fd_ >= 0) ::close(exit_fd_);
  if (log_fd_ >= 0) ::close(log_fd_);
}

int Child::release_log_fd() { return std::exchange(log_fd_, -1); }

void Child::signal(int number) const {
  if (pid_ > 0 && !exit_) ::kill(-pid_, number); // it leads a group of its own: a script's children go with it
}

std::optional<Exit> Child::reap() {
  if (exit_ || pid_ <= 0) return exit_;
  siginfo_t facts{};
  auto id = static_cast<id_t>(pid_);
  if (::waitid(P_PID, id, &facts, WEXITED | WNOHANG | WNOWAIT) != 0 || facts.si_pid == 0) return std::nullopt;
  ::kill(-pid_, SIGKILL); // what it left behind; not yet reaped, so the number is still its own
  ::waitid(P_PID, id, &facts, WEXITED | WNOHANG);
  exit_ = Exit{facts.si_code != CLD_EXITED, facts.si_status};
  return exit_;
}

void LogRing::append(std::string_view text) {
  if (text.size() > capacity_) text.remove_prefix(text.size() - capacity_);
  // Drops half at once, so that a talkative child doesn't move 256 kB for every line.
  if (text_.size() + text.size() > capacity_)
    text_.erase(0, std::min(text_.size(), std::max(text.size(), capacity_ / 2)));
  text_ += text;
}
} // namespace intertie::local
