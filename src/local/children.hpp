// One child process: spawned so that it dies with us, sees nothing of ours (clean environment, no descriptors, no
// network) and can always be stopped and reaped. Not a supervisor: no states, no restarts. spawn() must be called on a
// thread that lives as long as the child may (PDEATHSIG follows the thread); everything else likewise on that thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"

namespace intertie::local {

struct SpawnOrder {
  std::string program;                  // absolute path
  std::vector<std::string> arguments;   // without the program's name
  std::vector<std::string> environment; // all of it: "NAME=value"
  int nice = 5;
};

// What keeps the child from the network; at least one of them holds, else spawn() fails.
struct Isolation {
  bool no_interfaces = false; // a network namespace of its own
  bool no_sockets = false;    // seccomp: socket() only for AF_UNIX
};

struct Exit {
  bool signalled = false;
  int code = 0; // exit code or signal
  bool operator==(const Exit&) const = default;
};

class Child {
 public:
  // Failures: Unavailable (Fault::LocalResource) when the program can't be started, with why.
  static Result<Child> spawn(const SpawnOrder& order);
  Child() = default;
  Child(Child&& other) noexcept { *this = std::move(other); }
  Child& operator=(Child&& other) noexcept;
  ~Child(); // kills and reaps what still runs

  int pid() const { return pid_; }
  Isolation isolation() const { return isolation_; }
  int exit_fd() const { return exit_fd_; } // readable once it has exited
  int release_log_fd();                    // its stdout and stderr, non-blocking; the caller's to close
  void signal(int number) const;           // nothing once reaped: a pid is never signalled twice over
  std::optional<Exit> reap();              // nothing while it runs; afterwards the same answer for ever

 private:
  int pid_ = 0;
  int exit_fd_ = -1;
  int log_fd_ = -1;
  Isolation isolation_{};
  std::optional<Exit> exit_;
};

// The last 256 kB of what a child said.
class LogRing {
 public:
  explicit LogRing(std::size_t capacity = 256 * 1024) : capacity_(capacity) {}
  void append(std::string_view text);
  const std::string& text() const { return text_; }

 private:
  std::size_t capacity_;
  std::string text_;
};

} // namespace intertie::local
