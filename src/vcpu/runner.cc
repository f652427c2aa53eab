#include "vcpu/runner.h"

#include <algorithm>
#include <bit>

#include "base/log.h"
#include "machine/domain_memory.h"

namespace xenopolis::vcpu {

Result<std::unique_ptr<Runner>> Runner::create(const Hypervisor& hypervisor, const RunnerConfig& config,
                                               OnEnded on_ended) {
  SliceTimer timer = TRY(SliceTimer::create());
  return std::unique_ptr<Runner>(new Runner(hypervisor, config, std::move(timer), std::move(on_ended)));
}

Runner::Runner(const Hypervisor& hypervisor, const RunnerConfig& config, SliceTimer timer, OnEnded on_ended)
    : hypervisor_(hypervisor),
      config_(config),
      doorbells_(hypervisor.machine.doorbells()),
      timer_(std::move(timer)),
      guest_clock_(hypervisor.clock),
      on_ended_(std::move(on_ended)),
      statistics_(machine::statistics_of(config.bell)) {
  machine::my_statistics = &statistics_;
  doorbells_.adopt(config_.bell);
}

Runner::~Runner() {
  for (uint32_t slot = 0; slot < domains_.size(); ++slot) remove(slot);
  doorbells_.abandon(config_.bell);
  machine::my_statistics = nullptr;
}

void Runner::add(uint32_t slot, std::unique_ptr<CellDomain> domain, bool is_paused) {
  CHECK(!occupied(slot));
  domains_[slot] = std::move(domain);
  hypervisor_.events.set_doorbell(domid_of(slot), 0, config_.bell, slot);
  runnable_since_ns_[slot] = hypervisor_.clock.now_ns();
  make_runnable(slot);
  if (is_paused) set_paused(slot, true);
}

void Runner::make_runnable(uint32_t slot) {
  if ((paused_ >> slot & 1) == 0) queue_.push(slot);
}

void Runner::set_paused(uint32_t slot, bool is_paused) {
  CHECK(occupied(slot));
  const uint64_t now_ns = hypervisor_.clock.now_ns();
  domains_[slot]->set_paused(is_paused, now_ns);
  if (is_paused) {
    paused_ |= 1ull << slot;
    queue_.remove(slot);
    return;
  }
  paused_ &= ~(1ull << slot);
  runnable_since_ns_[slot] = now_ns;
  // The marks of its events have been taken meanwhile.
  if (!domains_[slot]->waits() || domains_[slot]->wake_if_due(now_ns)) make_runnable(slot);
}

bool Runner::raise_nmi(uint32_t slot) {
  CHECK(occupied(slot));
  const uint64_t now_ns = hypervisor_.clock.now_ns();
  const bool waited = domains_[slot]->waits();
  if (!domains_[slot]->raise_nmi(now_ns)) return false;
  if (waited) runnable_since_ns_[slot] = now_ns;
  deadlines_.set(slot, domains_[slot]->next_deadline());
  if (!domains_[slot]->waits()) make_runnable(slot);
  return true;
}

void Runner::remove(uint32_t slot) {
  if (!occupied(slot)) return;
  const DomId domid = domid_of(slot);
  hypervisor_.events.clear_doorbell(domid, 0);
  queue_.remove(slot);
  deadlines_.set(slot, std::nullopt);
  paused_ &= ~(1ull << slot);
  domains_[slot].reset();
  hypervisor_.machine.release(machine::memory_of(domid).extent);
}

void Runner::turn() {
  collect(hypervisor_.clock.now_ns());
  if (const auto slot = queue_.pop()) run_slice(*slot);
}

void Runner::sleep(std::optional<uint64_t> limit_ns) {
  std::optional<uint64_t> until = limit_ns;
  if (!deadlines_.empty()) until = std::min(until.value_or(~0ull), deadlines_.first().deadline_ns);
  doorbells_.sleep(config_.bell, until);
}

// Who waited and has something to do goes to the end of the queue. Timers first: what they raise leaves marks.
void Runner::collect(uint64_t now_ns) {
  // Ends because each deadline found is gone afterwards, or in the future.
  while (!deadlines_.empty() && deadlines_.first().deadline_ns <= now_ns) {
    const uint32_t slot = deadlines_.first().slot;
    if (domains_[slot]->expire(now_ns)) {
      runnable_since_ns_[slot] = now_ns;
      make_runnable(slot);
    }
    deadlines_.set(slot, domains_[slot]->next_deadline());
  }
  for (uint64_t marks = doorbells_.take(config_.bell); marks != 0; marks &= marks - 1) {
    const auto slot = static_cast<uint32_t>(std::countr_zero(marks));
    if (domains_[slot] == nullptr || !domains_[slot]->wake_if_due(now_ns)) continue;
    runnable_since_ns_[slot] = now_ns;
    make_runnable(slot);
    deadlines_.set(slot, domains_[slot]->next_deadline());
  }
}

void Runner::run_slice(uint32_t slot) {
  using Next = CellDomain::Next;
  CellDomain& domain = *domains_[slot];
  uint64_t now_ns = hypervisor_.clock.now_ns();
  const uint64_t slice_end_ns = now_ns + config_.slice_ns;
  const uint64_t begin_ns = now_ns;
  statistics_.delay.add(begin_ns - std::min(begin_ns, std::exchange(runnable_since_ns_[slot], begin_ns)));
  domain.schedule_in(guest_clock_, now_ns);
  Next next = Next::kRun;
  while (next == Next::kRun) {
    next = domain.before_entry();
    if (next != Next::kRun) break;
    timer_.ensure(now_ns, deadlines_.empty() ? slice_end_ns : std::min(slice_end_ns, deadlines_.first().deadline_ns));
    if (doorbells_.enter_guest(config_.bell, slot)) {
      const Exit exit = domain.enter();
      doorbells_.leave_guest(config_.bell);
      next = domain.handle(exit);
      deadlines_.set(slot, domain.next_deadline());
    }
    now_ns = hypervisor_.clock.now_ns();
    if (next != Next::kRun) break;
    collect(now_ns);
    // Looked at after every exit, because a guest that makes hypercalls without end is never interrupted by the timer.
    if (now_ns >= slice_end_ns || machine::doorbell(config_.bell).attention.load() != 0) next = Next::kYield;
  }
  domain.schedule_out(now_ns);
  statistics_.slice.add(now_ns - begin_ns);
  runnable_since_ns_[slot] = now_ns;
  if (next == Next::kYield) make_runnable(slot);
  if (next == Next::kEnd) end(slot);
}

void Runner::end(uint32_t slot) {
  CellDomain& domain = *domains_[slot];
  domain::DomainRecord& record = domain.record();
  const Ended ended{domain.domid(), slot, domain.shutdown_reason(), domain.end_text()};
  if (ended.reason == SHUTDOWN_crash) {
    log::error(log::About{ended.domid}, "domain {} ({}) crashed: {}", ended.domid, record.name, ended.text);
  }
  domain.trace_end(hypervisor_.clock.now_ns());
  remove(slot);
  record.shutdown_reason = ended.reason;
  record.state.store(domain::State::kShutdown, std::memory_order_release);
  hypervisor_.events.raise_global_virq(VIRQ_DOM_EXC);
  on_ended_(ended);
}

}  // namespace xenopolis::vcpu
