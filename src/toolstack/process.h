// Processes of a host, and the descriptors that tell their ends.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "machine/machine.h"

namespace xenopolis::toolstack {

// First descriptor number of what a child inherits; the rest follow without a gap.
inline constexpr int kFirstInheritedFd = 3;

class Keeper;

// A child of this process, or one of polis-keeper's that was spawned for this process. Destroying it kills the child
// and waits for it.
class Process {
 public:
  // A child of polis-keeper's.
  Process(pid_t pid, Fd pidfd, Keeper* keeper) : pid_(pid), pidfd_(std::move(pidfd)), keeper_(keeper) {}
  // Starts `program` (a path) with `arguments` (without argv[0]); `fds[i]` becomes descriptor 3 + i of the child, which
  // has no others but 0, 1, 2.
  static Result<Process> spawn(const std::string& program, const std::vector<std::string>& arguments,
                               const std::vector<int>& fds);
  Process(Process&& other) noexcept = default;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  pid_t pid() const { return pid_; }
  // Readable once the child has ended.
  int pidfd() const { return pidfd_.get(); }
  // After pidfd became readable: reaps; "exited with status 1", "was killed by signal 9 (Killed)".
  std::string reap();
  // Of an own child that was reaped and had not been killed.
  std::optional<int> exit_status() const { return exit_status_; }
  void signal(int number) const;
  // Blocks until the child has ended or it is `deadline_ns` (CLOCK_MONOTONIC).
  void wait_until(uint64_t deadline_ns) const;

 private:
  pid_t pid_ = 0;  // 0: reaped or moved from
  Fd pidfd_;
  Keeper* keeper_ = nullptr;  // none: an own child
  std::optional<int> exit_status_;
};

// The directory of the running program, where its siblings are.
std::string program_directory();

// "--machine-fd 3 --doorbell-fds 4,...": for a child whose first inherited descriptors are machine.fds().
std::vector<std::string> machine_arguments();
// The number of the descriptor that follows machine.fds().
inline constexpr int kFdAfterMachine = kFirstInheritedFd + 1 + static_cast<int>(machine::kDom0VcpuCount);

}  // namespace xenopolis::toolstack
