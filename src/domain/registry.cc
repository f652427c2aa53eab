#include "domain/registry.h"

#include <fmt/format.h>

namespace xenopolis::domain {
namespace {

constexpr DomId kFirstDomId = 1;

// All but the state, which the caller owns.
void reset_fields(DomainRecord& record, DomId domid) {
  record.domid = domid;
  record.ram_pages = 0;
  record.backend = Backend::kKvm;
  record.cell = kNoCell;
  record.cell_slot = 0;
  record.store_port = record.console_port = 0;
  record.name[0] = record.command_line[0] = '\0';
  record.store_gfn = record.console_gfn = 0;
  record.shutdown_reason = 0;
  record.configuration = {};
  record.started_s = 0;
  record.incarnation = 0;
  record.stage.store(Stage::kNone, std::memory_order_relaxed);
  record.is_paused.store(false, std::memory_order_relaxed);
  record.renames_under_way.store(0, std::memory_order_relaxed);
  for (auto* time : {&record.created_ns, &record.built_ns, &record.first_run_ns}) {
    time->store(0, std::memory_order_relaxed);
  }
  for (auto* counter : {&record.exits, &record.hypercalls, &record.upcalls, &record.run_time_ns, &record.log_bytes}) {
    counter->store(0, std::memory_order_relaxed);
  }
  record.runstate.store(RUNSTATE_offline, std::memory_order_relaxed);
}

}  // namespace

Result<DomainRecord*> claim_record(DomId domid) {
  if (domid < kFirstDomId || domid >= kDomIdCount) {
    return fail(EINVAL, fmt::format("domid {} is not within {} to {}", domid, kFirstDomId, kDomIdCount - 1));
  }
  DomainRecord& record = record_of(domid);
  State expected = State::kFree;
  if (!record.state.compare_exchange_strong(expected, State::kBuilding, std::memory_order_acq_rel)) {
    return fail(EEXIST, fmt::format("domid {} is taken: {}", domid, name_of(expected)));
  }
  reset_fields(record, domid);
  return &record;
}

void release_record(DomId domid) {
  record_of(domid).state.store(State::kFree, std::memory_order_release);
}

std::string_view name_of(State state) {
  switch (state) {
    case State::kFree:
      return "free";
    case State::kBuilding:
      return "building";
    case State::kRunning:
      return "running";
    case State::kShutdown:
      return "shutdown";
    case State::kDying:
      return "dying";
  }
  return "unknown";
}

std::string_view name_of(Backend backend) {
  switch (backend) {
    case Backend::kKvm:
      return "kvm";
    case Backend::kHosted:
      return "hosted";
  }
  return "unknown";
}

std::string_view name_of(Stage stage) {
  switch (stage) {
    case Stage::kUp:
      return "up";
    case Stage::kRebooting:
    case Stage::kEnding:
      return "ending";
    case Stage::kNone:
    case Stage::kCreating:
    case Stage::kReplacing:
      break;
  }
  return "creating";
}

std::string_view name_of_shutdown(uint32_t reason) {
  switch (reason) {
    case SHUTDOWN_poweroff:
      return "poweroff";
    case SHUTDOWN_reboot:
      return "reboot";
    case SHUTDOWN_suspend:
      return "suspend";
    case SHUTDOWN_crash:
      return "crash";
    case SHUTDOWN_watchdog:
      return "watchdog";
    case SHUTDOWN_soft_reset:
      return "soft_reset";
  }
  return "unknown";
}

std::string_view name_of_runstate(int runstate) {
  switch (runstate) {
    case RUNSTATE_running:
      return "running";
    case RUNSTATE_runnable:
      return "runnable";
    case RUNSTATE_blocked:
      return "blocked";
  }
  return "offline";
}

}  // namespace xenopolis::domain
