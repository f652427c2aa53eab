// What a runner has of one domain: its vCPU and everything that happens at the vCPU's entries and exits.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "hypercall/hypercall.h"
#include "machine/trace_ring.h"
#include "vcpu/backend.h"
#include "vcpu/emergency_console.h"
#include "vcpu/guest_clock.h"

namespace xenopolis::vcpu {

// What a cell's domains have in common; constant.
struct Hypervisor {
  machine::Machine& machine;
  event::EventChannels& events;
  grant::GrantTables& grants;
  const Clock& clock;
};

// Used by the runner's thread only.
class CellDomain {
 public:
  CellDomain(const Hypervisor& hypervisor, std::unique_ptr<domain::PvVcpu> state, std::unique_ptr<Vcpu> vcpu);

  DomId domid() const { return state_->domid; }
  domain::DomainRecord& record() { return record_; }

  // --- running

  enum class Next : uint8_t {
    kRun,    // enter again
    kYield,  // give way to others
    kWait,   // blocked or polling: waits() holds
    kEnd,    // shutdown_reason(), end_text()
  };

  // The vCPU gets the CPU / has lost it. `kWait` and `kYield` decide what its time is charged to from now on.
  void schedule_in(GuestClock& guest_clock, uint64_t now_ns);
  void schedule_out(uint64_t now_ns);
  // Delivers an event upcall if one is due. kRun or kEnd.
  Next before_entry();
  Exit enter();
  Next handle(const Exit& exit);

  // --- waiting

  bool waits() const { return waiting_ != Waiting::kNo; }
  // Something may have happened: true if the vCPU has to run now (it waits no longer then).
  bool wake_if_due(uint64_t now_ns);
  // When expire() has something to do.
  std::optional<uint64_t> next_deadline() const;
  // Raises the timers that are due. True: the vCPU waits no longer.
  bool expire(uint64_t now_ns);

  // --- from outside

  void set_paused(bool is_paused, uint64_t now_ns);
  // An NMI becomes pending; the vCPU waits no longer. False: the guest has registered no handler for it.
  bool raise_nmi(uint64_t now_ns);

  // --- after kEnd

  uint32_t shutdown_reason() const { return state_->shutdown_reason; }
  const std::string& end_text() const { return end_text_; }  // why it crashed
  void trace_end(uint64_t now_ns) const;

 private:
  enum class Waiting : uint8_t { kNo, kEvent, kPoll };

  vcpu_info& info() { return *hypervisor_.events.info_of(domid(), state_->id); }
  bool upcall_due();
  bool nmi_due() const;
  void set_runstate(int runstate, uint64_t now_ns);
  int runnable_state() const { return is_paused_ ? RUNSTATE_offline : RUNSTATE_runnable; }
  Next hypercall();
  Next trap(const Exit& exit);
  Next crash(std::string why);
  void stop_waiting(uint64_t now_ns);
  void follow_periodic_timer(uint64_t now_ns);
  void count_exit(const Exit& exit) const;
  // While somebody traces the domain: what has happened.
  void trace(machine::TraceKind kind, uint32_t number, const std::array<uint64_t, 6>& arguments, uint64_t begin_ns,
             uint64_t duration_ns) const;
  void trace_exit(const Exit& exit) const;

  const Hypervisor& hypervisor_;
  std::unique_ptr<domain::PvVcpu> state_;
  std::unique_ptr<Vcpu> vcpu_;
  domain::DomainRecord& record_;
  EmergencyConsole emergency_console_;
  hypercall::Context context_;

  Waiting waiting_ = Waiting::kNo;
  bool goes_on_ = false;  // a long hypercall has given others their turn
  bool is_paused_ = false;
  uint64_t scheduled_in_ns_ = 0;
  uint64_t waiting_since_ns_ = 0;
  uint64_t period_ns_ = 0;       // of the periodic timer, as last seen in state_
  uint64_t next_period_ns_ = 0;  // when it is due
  hypercall::TimeSample shown_;  // the guest's time
  hypercall::TscScale shown_scale_;
  std::string end_text_;
};

}  // namespace xenopolis::vcpu
