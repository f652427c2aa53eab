#include "vcpu/cell_domain.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "hypercall/bounce.h"
#include "hypercall/time.h"
#include "machine/statistics.h"

namespace xenopolis::vcpu {
namespace {

using domain::AfterHypercall;

// The record's counters have one writer, this thread.
using machine::count;

// VCPUOP_set_periodic_timer refuses shorter periods (xen/common/domain.c).
constexpr uint64_t kMinPeriodNs = 1'000'000;

}  // namespace

CellDomain::CellDomain(const Hypervisor& hypervisor, std::unique_ptr<domain::PvVcpu> state, std::unique_ptr<Vcpu> vcpu)
    : hypervisor_(hypervisor),
      state_(std::move(state)),
      vcpu_(std::move(vcpu)),
      record_(domain::record_of(state_->domid)),
      emergency_console_(record_.log_bytes,
                         [this](std::string_view line) { log::write_guests(domid(), record_.name, line); }),
      context_{.machine = hypervisor.machine,
               .events = hypervisor.events,
               .grants = hypervisor.grants,
               .record = record_,
               .vcpu = *state_,
               .memory = vcpu_->memory(),
               .mmu = vcpu_->mmu(),
               .clock = hypervisor.clock,
               .emergency_console = [this](std::string_view text) { emergency_console_.write(text); }} {
  set_runstate(RUNSTATE_runnable, hypervisor.clock.now_ns());
}

void CellDomain::set_runstate(int runstate, uint64_t now_ns) {
  hypercall::set_runstate(*state_, runstate, now_ns);
  record_.runstate.store(runstate, std::memory_order_relaxed);
}

void CellDomain::schedule_in(GuestClock& guest_clock, uint64_t now_ns) {
  if (record_.first_run_ns.load(std::memory_order_relaxed) == 0) record_.first_run_ns.store(now_ns);
  scheduled_in_ns_ = now_ns;
  set_runstate(RUNSTATE_running, now_ns);
  hypercall::publish_runstate(*state_, vcpu_->memory());

  const GuestClock::Reading reading = guest_clock.read();
  shown_ = not_before(shown_, shown_scale_, reading.sample);
  shown_scale_ = reading.scale;
  hypercall::update_vcpu_time(info().time, shown_scale_, shown_);
  hypercall::publish_vcpu_time(*state_, info(), vcpu_->memory());
}

void CellDomain::schedule_out(uint64_t now_ns) {
  count(record_.run_time_ns, now_ns - std::min(now_ns, scheduled_in_ns_));
  waiting_since_ns_ = now_ns;
  set_runstate(waits() ? RUNSTATE_blocked : runnable_state(), now_ns);
}

bool CellDomain::upcall_due() {
  // Without a callback nothing can be delivered: the event stays pending, as in Xen.
  return state_->callbacks.event != 0 && hypercall::upcall_due(info());
}

// None while the handler of one runs, until its iret (process_nmi and async_exception_cleanup in Xen).
bool CellDomain::nmi_due() const {
  return state_->nmi_pending && !state_->in_nmi && state_->trap_handler(hypercall::kNmiVector) != nullptr;
}

CellDomain::Next CellDomain::before_entry() {
  if (std::exchange(goes_on_, false)) {
    if (const Next next = hypercall(); next != Next::kRun) return next;
  }
  if (nmi_due()) {
    if (!hypercall::deliver_nmi(*state_, info(), vcpu_->memory())) {
      return crash(fmt::format("no stack for an NMI at {:#x}", state_->registers.rsp));
    }
    return Next::kRun;  // an upcall that is due comes when its handler returns
  }
  if (!upcall_due()) return Next::kRun;
  if (!hypercall::deliver_event_upcall(*state_, info(), vcpu_->memory())) {
    return crash(fmt::format("no stack for an event upcall at {:#x}", state_->registers.rsp));
  }
  count(record_.upcalls);
  if (auto* mine = machine::my_statistics; mine != nullptr) count(mine->upcalls);
  if (machine::is_traced(domid())) trace(machine::TraceKind::kUpcall, 0, {}, hypervisor_.clock.now_ns(), 0);
  return Next::kRun;
}

Exit CellDomain::enter() {
  return vcpu_->run(*state_);
}

CellDomain::Next CellDomain::handle(const Exit& exit) {
  count_exit(exit);
  if (machine::is_traced(domid())) trace_exit(exit);
  switch (exit.reason) {
    case ExitReason::kHypercall:
      return hypercall();
    case ExitReason::kTrap:
      return trap(exit);
    case ExitReason::kSyscall:
      if (hypercall::deliver_syscall(*state_, info(), vcpu_->memory())) return Next::kRun;
      return crash("no callback or stack for a system call");
    case ExitReason::kInterrupted:
      return Next::kRun;
    case ExitReason::kFailed:
      return crash(exit.failure);
  }
  return crash("unknown exit");
}

CellDomain::Next CellDomain::hypercall() {
  domain::Registers& registers = state_->registers;
  const uint64_t number = registers.rax;
  const hypercall::Arguments arguments{registers.rdi, registers.rsi, registers.rdx,
                                       registers.r10, registers.r8,  registers.r9};
  state_->after = AfterHypercall::kContinue;
  const int64_t result = hypercall::dispatch(context_, number, arguments);
  // One that goes on has no result yet, and finds its number where it was.
  if (state_->after != AfterHypercall::kAgain && hypercall::dispatch_sets_rax(number)) {
    registers.rax = static_cast<uint64_t>(result);
  }
  if (state_->periodic_ns != period_ns_) follow_periodic_timer(hypervisor_.clock.now_ns());

  switch (state_->after) {
    case AfterHypercall::kContinue:
      return Next::kRun;
    case AfterHypercall::kAgain:
      goes_on_ = true;
      return Next::kYield;
    case AfterHypercall::kYield:
      return Next::kYield;
    case AfterHypercall::kBlock:
      // Upcalls are unmasked by now: an event from here on finds the vCPU waiting, and its mark the runner.
      waiting_ = Waiting::kEvent;
      if (!hypercall::upcall_due(info()) && !nmi_due()) return Next::kWait;
      waiting_ = Waiting::kNo;
      return Next::kRun;
    case AfterHypercall::kPoll:
      waiting_ = Waiting::kPoll;
      return Next::kWait;
    case AfterHypercall::kShutdown:
      if (state_->shutdown_reason == SHUTDOWN_crash) {
        end_text_ = fmt::format("in hypercall {} ({}) at {:#x}", number, hypercall::name_of(number), registers.rip);
      }
      return Next::kEnd;
  }
  return crash("unknown wish");
}

CellDomain::Next CellDomain::trap(const Exit& exit) {
  const uint64_t rip = state_->registers.rip;
  const auto error_code = exit.has_error_code ? std::optional(exit.error_code) : std::nullopt;
  if (hypercall::deliver_exception(*state_, info(), vcpu_->memory(), exit.vector, error_code, exit.fault_address)) {
    return Next::kRun;
  }
  return crash(
      fmt::format("no handler or stack for exception {} at {:#x}, error code {:#x}, fault address {:#x}, rsp {:#x}",
                  exit.vector, rip, exit.error_code, exit.fault_address, state_->registers.rsp));
}

CellDomain::Next CellDomain::crash(std::string why) {
  state_->shutdown_reason = SHUTDOWN_crash;
  end_text_ = std::move(why);
  return Next::kEnd;
}

void CellDomain::stop_waiting(uint64_t now_ns) {
  if (machine::is_traced(domid())) {
    trace(machine::TraceKind::kWait, 0, {}, waiting_since_ns_, now_ns - std::min(now_ns, waiting_since_ns_));
  }
  if (waiting_ == Waiting::kPoll) {
    hypervisor_.events.end_poll(domid(), state_->id);
    state_->poll_deadline_ns.reset();
  }
  waiting_ = Waiting::kNo;
  set_runstate(runnable_state(), now_ns);
}

// What Xen counts a paused vCPU's time as: blocked if it waits, else offline (vcpu_runstate_change in schedule()).
void CellDomain::set_paused(bool is_paused, uint64_t now_ns) {
  is_paused_ = is_paused;
  if (!waits()) set_runstate(runnable_state(), now_ns);
}

bool CellDomain::raise_nmi(uint64_t now_ns) {
  if (state_->trap_handler(hypercall::kNmiVector) == nullptr) return false;
  state_->nmi_pending = true;
  if (waits()) stop_waiting(now_ns);
  return true;
}

bool CellDomain::wake_if_due(uint64_t now_ns) {
  // A poll may end early: the guest looks at its ports itself.
  if (!waits() || (waiting_ == Waiting::kEvent && !hypercall::upcall_due(info()))) return false;
  stop_waiting(now_ns);
  return true;
}

std::optional<uint64_t> CellDomain::next_deadline() const {
  uint64_t earliest = ~0ull;
  if (state_->timer_ns) earliest = *state_->timer_ns;
  if (period_ns_ != 0) earliest = std::min(earliest, next_period_ns_);
  if (waiting_ == Waiting::kPoll && state_->poll_deadline_ns) earliest = std::min(earliest, *state_->poll_deadline_ns);
  return earliest == ~0ull ? std::nullopt : std::optional(earliest);
}

bool CellDomain::expire(uint64_t now_ns) {
  if (state_->timer_ns && *state_->timer_ns <= now_ns) {
    state_->timer_ns.reset();
    hypervisor_.events.raise_virq(domid(), state_->id, VIRQ_TIMER);
  }
  if (period_ns_ != 0 && next_period_ns_ <= now_ns) {
    // Ticks that were missed are not made up for.
    next_period_ns_ = std::max(next_period_ns_ + period_ns_, now_ns + kMinPeriodNs);
    hypervisor_.events.raise_virq(domid(), state_->id, VIRQ_TIMER);
  }
  if (waiting_ == Waiting::kPoll && state_->poll_deadline_ns && *state_->poll_deadline_ns <= now_ns) {
    stop_waiting(now_ns);
    return true;
  }
  return false;
}

void CellDomain::count_exit(const Exit& exit) const {
  count(record_.exits);
  machine::Statistics* const mine = machine::my_statistics;
  if (mine == nullptr) return;
  static_assert(static_cast<size_t>(ExitReason::kFailed) < machine::Statistics::kExits);
  count(mine->exits[static_cast<size_t>(exit.reason)]);
  if (exit.reason == ExitReason::kTrap) {
    count(mine->traps[std::min<size_t>(exit.vector, machine::Statistics::kVectors - 1)]);
  }
}

void CellDomain::trace(machine::TraceKind kind, uint32_t number, const std::array<uint64_t, 6>& arguments,
                       uint64_t begin_ns, uint64_t duration_ns) const {
  machine::TraceRecord record{};
  record.kind = kind;
  record.number = number;
  record.arguments = arguments;
  record.time_ns = begin_ns;
  record.duration_ns = duration_ns;
  machine::append_trace(domid(), record, begin_ns + duration_ns);
}

void CellDomain::trace_exit(const Exit& exit) const {
  const uint64_t now_ns = hypervisor_.clock.now_ns();
  const uint64_t rip = state_->registers.rip;
  switch (exit.reason) {
    case ExitReason::kTrap:
      return trace(machine::TraceKind::kTrap, exit.vector, {exit.error_code, exit.fault_address, rip}, now_ns, 0);
    case ExitReason::kSyscall:
      return trace(machine::TraceKind::kSyscall, 0, {state_->registers.rax, rip}, now_ns, 0);
    case ExitReason::kInterrupted:
      return trace(machine::TraceKind::kInterrupt, 0, {rip}, now_ns, 0);
    case ExitReason::kHypercall:  // traced when it returns
    case ExitReason::kFailed:     // trace_end()
      return;
  }
}

void CellDomain::trace_end(uint64_t now_ns) const {
  if (machine::is_traced(domid())) trace(machine::TraceKind::kEnd, shutdown_reason(), {}, now_ns, 0);
}

void CellDomain::follow_periodic_timer(uint64_t now_ns) {
  period_ns_ = state_->periodic_ns == 0 ? 0 : std::max(state_->periodic_ns, kMinPeriodNs);
  next_period_ns_ = now_ns + period_ns_;
}

}  // namespace xenopolis::vcpu
