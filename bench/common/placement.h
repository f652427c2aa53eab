// Which CPU a thread runs on. Left to the scheduler, two threads that wake each other share a CPU or not by chance, and
// on one virtual machine the same exchange takes 6 us or 50 us. So it is said for each measurement.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <vector>

#include "common/basics.h"

namespace xenopolis::bench {

// Those that this process may use, ascending; at least one.
inline std::vector<int> usable_cpus() {
  cpu_set_t set;
  require(sched_getaffinity(0, sizeof set, &set) == 0, "the CPUs of this process are known");
  std::vector<int> usable;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) usable.push_back(cpu);
  }
  return usable;
}

// 0: the calling thread, and those that it starts.
inline void pin(pid_t thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  require(sched_setaffinity(thread, sizeof set, &set) == 0, "a thread can be bound to a CPU");
}

// Of a daemon, and of those that use it. With one CPU all share it.
struct DaemonCpus {
  int daemon = usable_cpus().back();
  int other = usable_cpus().front();
};

// The calling thread, and those that it starts, as long as this lives.
class OnCpu {
 public:
  explicit OnCpu(int cpu) {
    require(sched_getaffinity(0, sizeof before_, &before_) == 0, "the CPUs of this process are known");
    pin(0, cpu);
  }
  OnCpu(const OnCpu&) = delete;
  OnCpu& operator=(const OnCpu&) = delete;
  ~OnCpu() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_;
};

}  // namespace xenopolis::bench
