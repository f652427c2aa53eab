// One thread that runs at most 64 vCPUs in turn.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "machine/statistics.h"
#include "vcpu/cell_domain.h"
#include "vcpu/deadline_heap.h"
#include "vcpu/run_queue.h"
#include "vcpu/slice_timer.h"

namespace xenopolis::vcpu {

struct RunnerConfig {
  machine::DoorbellId bell = 0;
  uint64_t slice_ns = 1'000'000;  // what a vCPU runs for while others want to
};

// Everything is called from one thread, the one that create() was called in.
//
// A vCPU that is runnable is in the queue; one that waits costs nothing until its mark in the doorbell or its deadline.
// No work here is proportional to what exists: a turn costs the marks and deadlines that are due, and one slice.
class Runner {
 public:
  struct Ended {
    DomId domid;
    uint32_t slot;
    uint32_t reason;   // SHUTDOWN_*
    std::string text;  // why it crashed
  };
  // The domain's vCPU is gone and its record kShutdown: nothing of it is touched any more.
  using OnEnded = std::function<void(const Ended&)>;

  // Adopts the doorbell.
  static Result<std::unique_ptr<Runner>> create(const Hypervisor& hypervisor, const RunnerConfig& config,
                                                OnEnded on_ended);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner();

  // The domain is runnable from now on, or as soon as it is unpaused. `slot` is free.
  void add(uint32_t slot, std::unique_ptr<CellDomain> domain, bool is_paused = false);
  bool occupied(uint32_t slot) const { return domains_.at(slot) != nullptr; }
  DomId domid_of(uint32_t slot) const { return domains_.at(slot)->domid(); }
  // Frees the vCPU in `slot`; nothing happens when there is none.
  void remove(uint32_t slot);

  // A paused vCPU is not run; its events and timers become pending as ever. `slot` is occupied.
  void set_paused(uint32_t slot, bool is_paused);
  // An NMI for the vCPU in `slot`, which is occupied. False: the guest has no handler for it.
  bool raise_nmi(uint32_t slot);

  // Looks at marks and timers, and runs the next runnable vCPU for a slice, or until there is attention.
  void turn();
  // Nobody is runnable, as far as the last turn() saw.
  bool idle() const { return queue_.empty(); }
  // Until a mark, attention, the next timer, or `limit_ns`.
  void sleep(std::optional<uint64_t> limit_ns = std::nullopt);

 private:
  Runner(const Hypervisor& hypervisor, const RunnerConfig& config, SliceTimer timer, OnEnded on_ended);
  void collect(uint64_t now_ns);
  void run_slice(uint32_t slot);
  void end(uint32_t slot);
  // To the end of the queue, if the vCPU may run.
  void make_runnable(uint32_t slot);

  const Hypervisor hypervisor_;
  const RunnerConfig config_;
  machine::Doorbells& doorbells_;
  SliceTimer timer_;
  GuestClock guest_clock_;
  OnEnded on_ended_;
  std::array<std::unique_ptr<CellDomain>, machine::kVcpusPerDoorbell> domains_;
  machine::Statistics& statistics_;
  std::array<uint64_t, machine::kVcpusPerDoorbell> runnable_since_ns_{};  // or waiting since, for those that wait
  RunQueue queue_;       // runnable and not paused
  uint64_t paused_ = 0;  // bit per slot
  DeadlineHeap deadlines_;
};

}  // namespace xenopolis::vcpu
