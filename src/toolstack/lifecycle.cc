#include "toolstack/lifecycle.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/clock.h"
#include "base/log.h"
#include "domain/existing.h"
#include "toolstack/cell_reply.h"
#include "toolstack/lost_memory.h"

namespace xenopolis::toolstack {

using domain::Stage;
using domain::State;

Lifecycle::Lifecycle(EventLoop& loop, machine::Machine& machine, event::EventChannels& events,
                     grant::GrantTables& grants, CellPool& cells, XenstoreClient& xenstore, DomainConsoles& consoles,
                     LifecycleConfig config, Observer observer)
    : loop_(loop),
      machine_(machine),
      events_(events),
      grants_(grants),
      cells_(cells),
      xenstore_(xenstore),
      entries_(xenstore),
      consoles_(consoles),
      config_(config),
      observer_(std::move(observer)) {
  std::vector<bool> is_taken(kDomIdCount);
  for (const DomId domid : domain::existing_domains(machine)) is_taken[domid] = true;
  for (DomId domid = 1; domid < kDomIdCount; ++domid) {
    if (!is_taken[domid]) free_domids_.push_back(domid);
  }
  entries_.write_dom0();
}

Lifecycle::Domain* Lifecycle::find(DomId domid) {
  const auto found = domains_.find(domid);
  return found == domains_.end() ? nullptr : found->second.get();
}

DomId Lifecycle::named(const std::string& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? DomId{0} : found->second;
}

// Also across polisds: the clock goes on.
uint64_t Lifecycle::new_incarnation() {
  last_incarnation_ = std::max(last_incarnation_ + 1, MonotonicClock().now_ns());
  return last_incarnation_;
}

ConsoleDescription Lifecycle::consoles_of(DomId domid) const {
  const domain::DomainRecord& record = domain::record_of(domid);
  return {domid,
          record.name,
          record.console_gfn,
          record.console_port,
          record.configuration.further_consoles,
          record.incarnation};
}

DomainSpec Lifecycle::spec_of(DomId domid) const {
  const domain::DomainRecord& record = domain::record_of(domid);
  const domain::DomainConfiguration& configuration = record.configuration;
  DomainSpec spec;
  spec.name = record.name;
  spec.memory_mib = record.ram_pages / (machine::kMiB / kPageSize);
  const Domain& domain = *domains_.at(domid);
  spec.image = domain.image;
  spec.ramdisk = domain.ramdisk;
  spec.command_line = record.command_line;
  spec.max_event_channels = configuration.max_event_channels;
  spec.max_grant_frames = configuration.max_grant_frames;
  spec.consoles = configuration.further_consoles;
  spec.uuid = to_text(uuid_of(record));
  spec.on_poweroff = configuration.on_poweroff;
  spec.on_reboot = configuration.on_reboot;
  spec.on_watchdog = configuration.on_watchdog;
  spec.on_crash = configuration.on_crash;
  return spec;
}

void Lifecycle::adopt() {
  if (const uint64_t lost = reclaim_lost_memory(machine_)) {
    log::info("the polisd before this one has lost {} MiB of the machine's memory: they are free again",
              lost / machine::kMiB);
  }
  // Of a domain that reboots there may be two: its successor stands for both.
  std::unordered_set<std::string> successors;
  const std::vector<DomId> domids = domain::existing_domains(machine_);
  for (const DomId domid : domids) {
    if (domain::record_of(domid).stage == Stage::kReplacing) successors.insert(domain::record_of(domid).name);
  }
  std::vector<DomId> without_cell;
  for (const DomId domid : domids) {
    if (!adopt(domid, successors.contains(domain::record_of(domid).name))) without_cell.push_back(domid);
  }
  on_cell_death({ECANCELED, "is gone"}, without_cell);
  for (const DomId domid : domids) {
    Domain* domain = find(domid);
    if (domain == nullptr || !domain->has_shut_down || !domain->running) continue;
    // What has a successor and goes on to be there, gets another name.
    if (successors.contains(domain->name)) {
      keep_as(domid, kept_name(domain->name));
    } else {
      settle(domid);
    }
  }
  if (!domains_.empty()) log::info("{} domains are there", domains_.size());
}

// False: its cell has died, which nobody has acted upon.
bool Lifecycle::adopt(DomId domid, bool has_successor) {
  domain::DomainRecord& record = domain::record_of(domid);
  const State state = domain::state_of(domid);
  Domain& domain = *(domains_[domid] = std::make_unique<Domain>());
  domain.name = record.name;
  domain.image = record.configuration.image;
  domain.ramdisk = record.configuration.ramdisk;
  domain.place = {record.cell, record.cell_slot};
  domain.in_xenstore = true;
  domain.has_shut_down = state == State::kShutdown;
  const bool has_cell = record.cell != domain::kNoCell && cells_.alive(record.cell);
  if (!has_cell) record.cell = domain::kNoCell;
  domain.in_cell = has_cell && !domain.has_shut_down;
  last_incarnation_ = std::max(last_incarnation_, record.incarnation);
  if (!has_successor || record.stage == Stage::kReplacing) {
    names_[domain.name] = domid;
    uuids_[uuid_of(record)] = domid;
  }
  if (record.stage == Stage::kUp) {
    domain.running = true;
    consoles_.adopt(consoles_of(domid));
    if (record.renames_under_way.exchange(0) != 0) entries_.identify(record, renamed(domid, [](const Status&) {}));
    if (domain.has_shut_down) return true;
    domain.in_cell = true;
    if (!has_cell) return false;
    // It may not have been told.
    ask_cell(domid, record.is_paused ? vcpu::CellRequestKind::kPause : vcpu::CellRequestKind::kUnpause,
             [](const Status&) {});
    return true;
  }
  consoles_.assume(consoles_of(domid));
  if (record.stage == Stage::kReplacing) {
    record.stage = Stage::kRebooting;
  } else if (record.stage == Stage::kRebooting && has_successor) {
    record.stage = Stage::kEnding;
  }
  end(domid);
  return true;
}

void Lifecycle::ask_cell(DomId domid, vcpu::CellRequestKind kind, Done done) {
  Domain* domain = find(domid);
  if (domain == nullptr || !domain->in_cell || domain->ending) {
    return done(fail(ESRCH, fmt::format("domain {} has shut down", domid)));
  }
  vcpu::CellRequest request{};
  request.kind = kind;
  request.domid = domid;
  request.slot = domain->place.slot;
  domain->cell_answers.push_back(std::move(done));
  cells_.send(domain->place.cell, request);
}

void Lifecycle::pause(DomId domid, bool paused, Done done) {
  domain::record_of(domid).is_paused = paused;
  ask_cell(domid, paused ? vcpu::CellRequestKind::kPause : vcpu::CellRequestKind::kUnpause, std::move(done));
}

void Lifecycle::trigger_nmi(DomId domid, Done done) {
  ask_cell(domid, vcpu::CellRequestKind::kTrigger, std::move(done));
}

void Lifecycle::ask_guest(DomId domid, std::string_view node, std::string_view value, Done done) {
  const Domain* domain = find(domid);
  if (domain == nullptr || !domain->running || domain->has_shut_down || domain->ending) {
    return done(fail(ESRCH, fmt::format("domain {} does not run", domid)));
  }
  xenstore_.write(fmt::format("/local/domain/{}/control/{}", domid, node), value,
                  [done = std::move(done)](const Result<std::string>& written) {
                    done(written ? Status{} : Status(tl::make_unexpected(written.error())));
                  });
}

void Lifecycle::rename(DomId domid, const std::string& name, Done done) {
  Domain& domain = *find(domid);
  DomainSpec spec = spec_of(domid);
  spec.name = name;
  if (Status valid = check(spec); !valid) return done(std::move(valid));
  if (name == domain.name) return done({});
  if (names_.contains(name)) return done(fail(EEXIST, fmt::format("a domain called {} exists", name)));
  if (!domain.running || domain.ending) return done(fail(ESRCH, fmt::format("domain {} does not run", domid)));
  names_.erase(domain.name);
  const Done told = renamed(domid, std::move(done));
  call(domid, name);
  entries_.rename(domid, uuid_of(domain::record_of(domid)), name, told);
}

// But for xenstore.
void Lifecycle::call(DomId domid, const std::string& name) {
  names_[name] = domid;
  find(domid)->name = name;
  domain::DomainRecord& record = domain::record_of(domid);
  record.name[name.copy(record.name, sizeof record.name - 1)] = '\0';
  consoles_.rename(domid, name);
  observer_("renamed", domid, name, "");
}

// Until it is called, whoever adopts the domain says once more in xenstore who it is.
Lifecycle::Done Lifecycle::renamed(DomId domid, Done done) {
  domain::DomainRecord& record = domain::record_of(domid);
  ++record.renames_under_way;
  return [domid, incarnation = record.incarnation, done = std::move(done)](const Status& status) {
    domain::DomainRecord& then = domain::record_of(domid);
    if (then.incarnation == incarnation) --then.renames_under_way;
    done(status);
  };
}

void Lifecycle::on_cell_reply(uint32_t cell, const vcpu::CellReply& said) {
  const Result<vcpu::CellReply> believed = checked(said);
  if (!believed) return log::debug("cell {}: {}", cell, believed.error().what);
  const vcpu::CellReply& reply = *believed;
  Domain* domain = find(reply.domid);
  // Another cell's domain; or its own, that was destroyed, asked for twice, and its number given to another.
  if (domain == nullptr || domain->place.cell != cell) return;
  switch (reply.kind) {
    case vcpu::CellReplyKind::kReady:
    case vcpu::CellReplyKind::kNotStarted:
      return;
    case vcpu::CellReplyKind::kBuilt:
      // A polisd before this one has asked for it.
      if (domain->running || domain->tearing_down || domain->in_xenstore) return;
      if (domain->ending) {
        creation_step_done(reply.domid, {});  // destroyed meanwhile: the backends need not know it
      } else {
        on_built(reply.domid, *domain);
      }
      return;
    case vcpu::CellReplyKind::kBuildFailed:
      if (domain->running || domain->tearing_down || domain->in_xenstore) return;
      domain->in_cell = false;
      creation_step_done(reply.domid, fail(reply.error, reply.text));
      return;
    case vcpu::CellReplyKind::kShutdown:
      if (!domain->has_shut_down) on_shutdown(reply.domid, reply.text);
      return;
    case vcpu::CellReplyKind::kDestroyed:
      if (!domain->tearing_down || !std::exchange(domain->in_cell, false)) return;
      teardown_step_done(reply.domid);
      return;
    case vcpu::CellReplyKind::kPaused:
    case vcpu::CellReplyKind::kUnpaused:
    case vcpu::CellReplyKind::kTriggered: {
      if (domain->cell_answers.empty()) return;
      const Done done = std::move(domain->cell_answers.front());
      domain->cell_answers.pop_front();
      return done(reply.error == 0 ? Status{} : Status(fail(reply.error, reply.text)));
    }
  }
}

void Lifecycle::on_cell_death(const Error& why, const std::vector<DomId>& domids) {
  const std::string text = "its cell " + why.what;
  for (const DomId domid : domids) {
    Domain* domain = find(domid);
    if (domain == nullptr) continue;
    for (const Done& done : std::exchange(domain->cell_answers, {})) {
      done(fail(ESRCH, text));
    }
    domain::DomainRecord& record = domain::record_of(domid);
    // Also of one that has shut down: another cell may get the number, and another domain the place.
    record.cell = domain::kNoCell;
    if (!domain->in_cell) continue;
    record.shutdown_reason = SHUTDOWN_crash;
    record.state.store(State::kShutdown);
    events_.clear_doorbell(domid, 0);
    events_.raise_global_virq(VIRQ_DOM_EXC);
    if (domain->tearing_down) {
      domain->in_cell = false;
      teardown_step_done(domid);  // the kDestroyed that will not come
      continue;
    }
    const bool is_built = domain->in_xenstore;
    if (!domain->running && domain->failure.empty()) {
      domain->failure = text;
      domain->failure_code = why.code;
    }
    on_shutdown(domid, text);
    if (!is_built) creation_step_done(domid, {});  // the kBuilt that will not come
  }
}

}  // namespace xenopolis::toolstack
