// How domains end, and begin again.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "base/log.h"
#include "domain/registry.h"
#include "machine/domain_memory.h"
#include "toolstack/lifecycle.h"

namespace xenopolis::toolstack {
namespace {

using domain::EndAction;
using domain::Stage;
using domain::State;

// A guest that reboots or crashes as soon as it runs does not keep the host busy: so old it is before its successor
// begins.
constexpr uint64_t kShortestLifeNs = 1'000'000'000;

// Nor does it fill the log: what it has said there counts after a reboot, too, but for so much in each second.
constexpr uint64_t kLogBytesPerSecond = 64;

void hand_on_what_was_said(const domain::DomainRecord& from, domain::DomainRecord& to) {
  const uint64_t said = from.log_bytes.load(std::memory_order_relaxed);
  const uint64_t age_s = (MonotonicClock().now_ns() - from.created_ns.load()) / 1'000'000'000;
  to.log_bytes.fetch_add(said - std::min(said, age_s * kLogBytesPerSecond), std::memory_order_relaxed);
}

std::string end_text(uint32_t shutdown_reason) {
  const std::string name(domain::name_of_shutdown(shutdown_reason));
  return shutdown_reason == SHUTDOWN_suspend || shutdown_reason == SHUTDOWN_soft_reset
             ? name + " was asked for, which this host does not do"
             : name;
}

}  // namespace

std::string kept_name(const std::string& name) {
  const time_t now = time(nullptr);
  tm calendar{};
  gmtime_r(&now, &calendar);
  char suffix[32];
  return name + std::string(suffix, strftime(suffix, sizeof suffix, "-%Y%m%dT%H%MZ", &calendar));
}

// Its vCPU is gone.
void Lifecycle::on_shutdown(DomId domid, std::string why) {
  Domain& domain = *find(domid);
  domain.has_shut_down = true;
  const uint32_t reason = domain::record_of(domid).shutdown_reason;
  const bool as_asked = reason == SHUTDOWN_poweroff || reason == SHUTDOWN_reboot;
  observer_(as_asked ? "shutdown" : "crashed", domid, domain.name, why.empty() ? end_text(reason) : why);
  if (domain.tearing_down) return;  // kDestroyed follows
  domain.in_cell = false;
  if (domain.in_xenstore) xenstore_.tell_shutdown(domid);
  if (domain.running) return settle(domid);
  if (!domain.failure.empty()) domain.ending = true;
}

EndAction Lifecycle::action_of(DomId domid) const {
  const domain::DomainRecord& record = domain::record_of(domid);
  switch (record.shutdown_reason) {
    case SHUTDOWN_poweroff:
      return record.configuration.on_poweroff;
    case SHUTDOWN_reboot:
      return record.configuration.on_reboot;
    case SHUTDOWN_watchdog:
      return record.configuration.on_watchdog;
    case SHUTDOWN_crash:
      return record.configuration.on_crash;
  }
  return EndAction::kDestroy;
}

// A domain that was created has shut down.
void Lifecycle::settle(DomId domid) {
  switch (action_of(domid)) {
    case EndAction::kPreserve:
      return;
    case EndAction::kRenameRestart: {
      const domain::DomainRecord& record = domain::record_of(domid);
      loop_.at(record.created_ns + kShortestLifeNs,
               [this, domid, incarnation = record.incarnation] { keep_and_replace(domid, incarnation); });
      return;
    }
    case EndAction::kRestart:
      domain::record_of(domid).stage = Stage::kRebooting;
      break;
    case EndAction::kDestroy:
      break;
  }
  end(domid);
}

void Lifecycle::destroy(DomId domid, Done destroyed) {
  Domain* domain = find(domid);
  if (domain == nullptr) return destroyed(fail(ENOENT, fmt::format("there is no domain {}", domid)));
  domain->destroyed.push_back(std::move(destroyed));
  domain::DomainRecord& record = domain::record_of(domid);
  // Neither will it come back.
  if (record.stage == Stage::kRebooting || record.stage == Stage::kReplacing) record.stage = Stage::kEnding;
  end(domid);
}

void Lifecycle::end(DomId domid) {
  Domain& domain = *find(domid);
  if (domain.ending) return;
  domain.ending = true;
  if (domain.steps_under_way == 0) tear_down(domid, domain);
}

// Takes the domain from everybody who has it; no creation step is under way.
void Lifecycle::tear_down(DomId domid, Domain& domain) {
  domain::DomainRecord& record = domain::record_of(domid);
  if (record.stage != Stage::kRebooting) record.stage = Stage::kEnding;
  domain.tearing_down = true;
  domain.steps_under_way = 1;
  for (const Done& done : std::exchange(domain.cell_answers, {})) {
    done(fail(ESRCH, fmt::format("domain {} ends", domid)));
  }
  if (domain.in_cell) {
    ++domain.steps_under_way;
    vcpu::CellRequest request{};
    request.kind = vcpu::CellRequestKind::kDestroy;
    request.domid = domid;
    request.slot = domain.place.slot;
    cells_.send(domain.place.cell, request);
  }
  if (domain.in_xenstore) {
    ++domain.steps_under_way;
    xenstore_.release(domid, {});
    // After the consoles: who looks at a terminal gets the last words before its name goes.
    consoles_.remove(domid, [this, domid](const Status&) {
      entries_.remove(domid, uuid_of(domain::record_of(domid)),
                      [this, domid](const Status&) { teardown_step_done(domid); });
    });
  }
  teardown_step_done(domid);
}

void Lifecycle::teardown_step_done(DomId domid) {
  Domain* domain = find(domid);
  if (domain == nullptr || domain->steps_under_way == 0 || --domain->steps_under_way != 0) return;
  if (const Created created = std::exchange(domain->created, {})) {
    created(domain->failure.empty() ? Result<DomId>(fail(ECANCELED, "destroyed while it was created"))
                                    : Result<DomId>(fail(domain->failure_code, domain->failure)));
  }
  const domain::DomainRecord& record = domain::record_of(domid);
  if (record.stage != Stage::kRebooting) return forget(domid);
  // The record stays, with the name, until the successor has it.
  give_up_resources(domid, *domain);
  loop_.at(record.created_ns + kShortestLifeNs, [this, domid] { replace(domid); });
}

void Lifecycle::replace(DomId domid) {
  // Destroyed meanwhile: then nobody comes after it.
  if (domain::record_of(domid).stage == Stage::kRebooting) start_successor(domid);
  forget(domid);
}

void Lifecycle::start_successor(DomId domid) {
  const DomainSpec spec = spec_of(domid);
  start(spec, Stage::kReplacing, [this, domid, name = spec.name](const Result<DomId>& successor) {
    if (successor) return observer_("rebooted", *successor, name, fmt::format("it was domain {}", domid));
    log::error("{} does not come back: {}", name, successor.error().message());
  });
  const DomId successor = named(spec.name);
  if (successor != 0 && successor != domid) {
    hand_on_what_was_said(domain::record_of(domid), domain::record_of(successor));
  }
}

// The successor first, so that it stands in the machine, by name, before the name is the other's no more: see adopt().
void Lifecycle::keep_and_replace(DomId domid, uint64_t incarnation) {
  const Domain* domain = find(domid);
  if (domain == nullptr || domain->ending || domain::record_of(domid).incarnation != incarnation) return;
  const std::string name = domain->name, kept = kept_name(name);
  // As with xl, who crashes again and again fills the host with no more than one of these a minute.
  if (names_.contains(kept) || kept.size() >= sizeof domain::DomainRecord::name) {
    return log::error("{} does not come back: what is left of it cannot be called {}", name, kept);
  }
  start_successor(domid);
  if (named(name) != domid) keep_as(domid, kept);
}

void Lifecycle::keep_as(DomId domid, const std::string& name) {
  if (names_.contains(name)) return end(domid);
  domain::DomainConfiguration& configuration = domain::record_of(domid).configuration;
  configuration.on_poweroff = configuration.on_reboot = configuration.on_watchdog = configuration.on_crash =
      EndAction::kPreserve;
  const Done told = renamed(domid, [](const Status&) {});
  // Its own UUID is the successor's, which writes what belongs there: if it does not come so far, nobody does.
  xenstore_.remove("/vm/" + to_text(uuid_of(domain::record_of(domid))));
  give_up_uuid(domid);
  const Uuid uuid = random_uuid();
  uuids_[uuid] = domid;
  std::copy(uuid.begin(), uuid.end(), configuration.uuid);
  call(domid, name);
  entries_.identify(domain::record_of(domid), told);
}

// Unless it is a successor's by now.
void Lifecycle::give_up_uuid(DomId domid) {
  const auto found = uuids_.find(uuid_of(domain::record_of(domid)));
  if (found != uuids_.end() && found->second == domid) uuids_.erase(found);
}

void Lifecycle::forget(DomId domid) {
  const std::unique_ptr<Domain> gone = std::move(domains_.at(domid));
  domains_.erase(domid);
  if (named(gone->name) == domid) names_.erase(gone->name);
  give_up_uuid(domid);
  unprepare(domid, *gone);
  free_domids_.push_back(domid);
  observer_("destroyed", domid, gone->name, gone->failure);
  for (const Done& destroyed : gone->destroyed) destroyed({});
}

// May be done twice, also by another polisd that does not know how far this one has come.
void Lifecycle::give_up_resources(DomId domid, const Domain& domain) {
  domain::DomainRecord& record = domain::record_of(domid);
  record.state.store(State::kDying);
  if (std::exchange(record.cell, domain::kNoCell) != domain::kNoCell) cells_.give_back(domain.place);
  // From here on no event touches the domain's memory, and nobody maps its grants: then it can go.
  events_.destroy_domain(domid);
  grants_.destroy_domain(domid);
  machine::DomainMemory& memory = machine::memory_of(domid);
  // Forgotten first: what is freed twice is worse than what is lost.
  const machine::Extent extent = std::exchange(memory, {}).extent;
  if (extent) machine_.frames().free_extent(extent);
}

void Lifecycle::unprepare(DomId domid, const Domain& domain) {
  give_up_resources(domid, domain);
  domain::release_record(domid);
  events_.raise_global_virq(VIRQ_DOM_EXC);
}

}  // namespace xenopolis::toolstack
