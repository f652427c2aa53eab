// The machine: the shared memory that hypervisor, toolstack and Dom0 backends have in common.
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "machine/doorbell.h"
#include "machine/frames.h"
#include "machine/layout.h"

namespace xenopolis::machine {

// The first page. Constant after creation, but for the zones (see machine/frames.h).
struct Header {
  uint64_t magic;
  uint64_t version;
  uint64_t size;
  PageZone pages;
  ExtentZone extents;
};

// One process's view of the machine. At most one Machine exists in a process at a time, because its address is fixed.
class Machine {
 public:
  // A new machine of `size` bytes of address space (sparse), with doorbells for Dom0's vCPUs.
  static Result<Machine> create(uint64_t size = kMaxMachineSize);
  // The machine behind `memfd`, created by another process. `dom0_eventfds`: kDom0VcpuCount of them, as fds() gave
  // them.
  static Result<Machine> attach(Fd memfd, std::vector<Fd> dom0_eventfds);

  Machine(Machine&& other) noexcept;
  Machine& operator=(Machine&&) = delete;
  ~Machine();

  Frames& frames() { return frames_; }
  Doorbells& doorbells() { return doorbells_; }

  int memfd() const { return memfd_.get(); }
  int dom0_eventfd(VcpuId vcpu) const { return raw_eventfds_.at(vcpu); }
  // What attach() needs in another process: the memfd, then kDom0VcpuCount eventfds.
  std::vector<int> fds() const;

  // Bytes of host memory that the machine takes now.
  uint64_t resident_bytes() const;

 private:
  Machine(Fd memfd, std::vector<Fd> eventfds);

  Fd memfd_;
  std::vector<Fd> eventfds_;
  std::vector<int> raw_eventfds_;
  Frames frames_;
  Doorbells doorbells_;
};

inline Header& header() {
  return *reinterpret_cast<Header*>(kMachineBase);
}

}  // namespace xenopolis::machine
