// The machine: the shared memory that hypervisor, toolstack and Dom0 backends have in common.
#pragma once

#include <span>
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

// Which guest memory a process has mapped. Giving an extent back to the host makes the kernel look into every process
// that maps it (and there, with KVM, at every VM): hence cells, of which there are hundreds, map only the extents that
// they use, while the few backends, which may need any page at any time, map all.
enum class Reach { kAll, kOnDemand };

// One process's view of the machine. At most one Machine exists in a process at a time, because its address is fixed.
// While there is one, what the process logs goes to the machine's messages, too (machine/message_ring.h).
class Machine {
 public:
  // A new machine of `size` bytes of address space (sparse), with doorbells for Dom0's vCPUs.
  static Result<Machine> create(uint64_t size = kMaxMachineSize);
  // The machine behind `memfd`, created by another process. `dom0_eventfds`: kDom0VcpuCount of them, as fds() gave
  // them.
  static Result<Machine> attach(Fd memfd, std::vector<Fd> dom0_eventfds, Reach reach = Reach::kAll);

  Machine(Machine&& other) noexcept;
  Machine& operator=(Machine&&) = delete;
  ~Machine();

  Frames& frames() { return frames_; }
  Doorbells& doorbells() { return doorbells_; }

  // Makes the extent's frames accessible at their address; costs a few bit tests when they are. From one thread of the
  // process (with Reach::kAll: from any, it does nothing).
  Status reach(const Extent& extent) { return reached_.empty() ? Status{} : map_extent(extent); }
  // The opposite, when the last domain in this process that used them has ended.
  void release(const Extent& extent);

  // All of it as it is mapped.
  std::span<uint8_t> memory() const;

  int memfd() const { return memfd_.get(); }
  int dom0_eventfd(VcpuId vcpu) const { return raw_eventfds_.at(vcpu); }
  // What attach() needs in another process: the memfd, then kDom0VcpuCount eventfds.
  std::vector<int> fds() const;

  // Bytes of host memory that the machine takes now.
  uint64_t resident_bytes() const;

 private:
  Machine(Fd memfd, std::vector<Fd> eventfds);
  Status map_extent(const Extent& extent);

  Fd memfd_;
  std::vector<Fd> eventfds_;
  std::vector<int> raw_eventfds_;
  Frames frames_;
  Doorbells doorbells_;
  // Reach::kOnDemand: a bit for each chunk that is mapped. Empty with Reach::kAll. For each and not for each extent, as
  // a stranger's stay mapped when it ends, and others, of other sizes, come to lie there.
  std::vector<uint64_t> reached_;
};

inline Header& header() {
  return *reinterpret_cast<Header*>(kMachineBase);
}

}  // namespace xenopolis::machine
