// Which CPU the daemon runs on, and which its clients.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <vector>

#include "basics.h"

namespace xenopolis::bench {

// Left to the scheduler, client and daemon share a CPU or not by chance, and a request takes 6 us or, where a CPU must
// be woken that sleeps, 50 us on the same virtual machine. So it is said for each measurement. With one CPU all share
// it.
struct Cpus {
  int daemon;
  int other;
};

inline void pin(pid_t thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  require(sched_setaffinity(thread, sizeof set, &set) == 0, "a thread can be bound to a CPU");
}

inline Cpus choose_cpus() {
  cpu_set_t set;
  require(sched_getaffinity(0, sizeof set, &set) == 0, "the CPUs of this process are known");
  std::vector<int> usable;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) usable.push_back(cpu);
  }
  return {usable.back(), usable.front()};
}

// The calling thread, and those that it starts.
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
