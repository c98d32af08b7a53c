// Memory ceilings for children by cgroups (version 2), where the cgroup that we run in is ours to divide: writable, with
// the memory controller, and nobody but us in it (a systemd unit with Delegate=memory). Elsewhere there are none, and the
// prediction and the kernel's OOM killer have to do. We move into a leaf first, since a cgroup that hands out controllers
// may hold no process. Supervisor thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace intertie::local {

// The folder of our own cgroup by /proc/self/cgroup's text ("0::/user.slice/…"); nothing without version 2.
std::optional<std::string> own_cgroup(std::string_view proc_self_cgroup, const std::string& root);

class Cgroups {
 public:
  Cgroups() = default;
  // Takes `folder` over for the process `self` when it is ours to divide; otherwise usable() is false and nothing changed.
  Cgroups(std::string folder, int self);
  bool usable() const { return !folder_.empty(); }
  // Puts the child into a cgroup of its own, which the kernel keeps below `bytes`. False: it stays where it is.
  bool confine(std::uint64_t run, int pid, std::uint64_t bytes) const;
  void remove(std::uint64_t run) const; // once the child is reaped

 private:
  std::string child(std::uint64_t run) const;
  std::string folder_;
};
Cgroups take_own_cgroup();

// A child's ceiling: what it is predicted to hold, and what a prediction may be off and allocations come in.
std::uint64_t memory_ceiling(std::uint64_t predicted);

} // namespace intertie::local
