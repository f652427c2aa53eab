#include "toolstack/lifecycle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "domain/memory_layout.h"
#include "domain/registry.h"
#include "machine/domain_memory.h"
#include "toolstack/host_memory.h"

namespace xenopolis::toolstack {
namespace {

constexpr uint64_t kMaxMemoryMib = 512 * 1024;
constexpr uint64_t kMemoryCheckIntervalNs = 50'000'000;

bool is_valid_name(std::string_view name) {
  return !name.empty() && name.size() < sizeof(domain::DomainRecord::name) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
         });
}

Error xen_error(XenErrno reason, std::string what) {
  return Error{static_cast<int>(reason), std::move(what)};
}

// A domain that wants to go on afterwards cannot: nothing reboots or suspends yet, so that is reported as a crash is.
std::string end_text(uint32_t shutdown_reason) {
  const std::string name(domain::name_of_shutdown(shutdown_reason));
  return shutdown_reason == SHUTDOWN_poweroff || shutdown_reason == SHUTDOWN_crash
             ? name
             : name + " was asked for, which this host does not do: the domain is destroyed";
}

}  // namespace

Lifecycle::Lifecycle(machine::Machine& machine, event::EventChannels& events, grant::GrantTables& grants,
                     CellPool& cells, XenstoreClient& xenstore, DomainConsoles& consoles, LifecycleConfig config,
                     Observer observer)
    : machine_(machine),
      events_(events),
      grants_(grants),
      cells_(cells),
      xenstore_(xenstore),
      consoles_(consoles),
      config_(config),
      observer_(std::move(observer)) {
  for (uint32_t domid = 1; domid < kDomIdCount; ++domid) free_domids_.push_back(static_cast<DomId>(domid));
}

Lifecycle::Domain* Lifecycle::find(DomId domid) {
  const auto found = domains_.find(domid);
  return found == domains_.end() ? nullptr : found->second.get();
}

Status Lifecycle::check_host_memory() {
  const uint64_t now = MonotonicClock().now_ns();
  if (now - memory_checked_ns_ > kMemoryCheckIntervalNs) {
    memory_checked_ns_ = now;
    memory_available_mib_ = TRY(host_memory()).available_kib / 1024;
  }
  if (memory_available_mib_ < config_.reserve_mib) {
    return fail(ENOMEM,
                fmt::format("{} domains fit into this machine's memory: {} MiB are available, and {} MiB are kept free",
                            domains_.size(), memory_available_mib_, config_.reserve_mib));
  }
  return {};
}

void Lifecycle::create(const DomainSpec& spec, Created created) {
  const auto refuse = [&](int code, std::string why) { created(fail(code, std::move(why))); };
  if (!is_valid_name(spec.name)) {
    return refuse(EINVAL, fmt::format("the name \"{}\": 1 to {} characters of A-Z a-z 0-9 . _ -", spec.name,
                                      sizeof(domain::DomainRecord::name) - 1));
  }
  if (names_.contains(spec.name)) return refuse(EEXIST, fmt::format("a domain called {} exists", spec.name));
  if (spec.memory_mib == 0 || spec.memory_mib > kMaxMemoryMib) {
    return refuse(EINVAL, fmt::format("{} MiB of memory (1 to {})", spec.memory_mib, kMaxMemoryMib));
  }
  if (spec.command_line.size() >= sizeof(domain::DomainRecord::command_line)) {
    return refuse(EINVAL, fmt::format("a command line of {} bytes (at most {})", spec.command_line.size(),
                                      sizeof(domain::DomainRecord::command_line) - 1));
  }
  if (spec.max_event_channels == 0 || spec.max_event_channels >= EVTCHN_FIFO_NR_CHANNELS) {
    return refuse(EINVAL, fmt::format("max_event_channels of {} (1 to {})", spec.max_event_channels,
                                      EVTCHN_FIFO_NR_CHANNELS - 1));
  }
  if (spec.max_grant_frames == 0 || spec.max_grant_frames > domain::kMaxGrantFrames) {
    return refuse(EINVAL,
                  fmt::format("max_grant_frames of {} (1 to {})", spec.max_grant_frames, domain::kMaxGrantFrames));
  }
  if (spec.consoles > kMaxFurtherConsoles) {
    return refuse(EINVAL, fmt::format("{} consoles beside the first (0 to {})", spec.consoles, kMaxFurtherConsoles));
  }
  if (spec.image.size() >= sizeof(domain::DomainConfiguration::image)) return refuse(ENAMETOOLONG, spec.image);
  if (spec.ramdisk.size() >= sizeof(domain::DomainConfiguration::ramdisk)) return refuse(ENAMETOOLONG, spec.ramdisk);
  // Opened here, because a cell reaches no paths.
  SharedFds files;
  for (const auto& [path, what] : {std::pair(&spec.image, "kernel image"), std::pair(&spec.ramdisk, "ramdisk")}) {
    if (path->empty() && path == &spec.ramdisk) continue;
    Result<std::shared_ptr<const Fd>> file = files_.open(*path, what);
    if (!file) return created(tl::make_unexpected(std::move(file).error()));
    files.push_back(*std::move(file));
  }
  if (free_domids_.empty()) {
    return refuse(ENOSPC, fmt::format("all {} domain numbers are in use", kDomIdCount - 1));
  }
  if (const Status memory = check_host_memory(); !memory) return created(tl::make_unexpected(memory.error()));

  const DomId domid = free_domids_.front();
  auto owned = std::make_unique<Domain>();
  Domain& domain = *owned;
  domain.name = spec.name;
  domain.further_consoles = spec.consoles;
  if (Status prepared = prepare(domid, spec, domain); !prepared) {
    unprepare(domid, domain);
    return created(tl::make_unexpected(std::move(prepared).error()));
  }
  free_domids_.pop_front();
  domain.created = std::move(created);
  domain.in_cell = true;
  domain.steps_under_way = 1;
  domains_.emplace(domid, std::move(owned));
  names_.emplace(spec.name, domid);

  vcpu::CellRequest request{};
  request.kind = vcpu::CellRequestKind::kBuild;
  request.domid = domid;
  request.slot = domain.place.slot;
  cells_.send(domain.place.cell, request, std::move(files));
}

// Everything that the cell needs to find. What it did before an error is undone by unprepare().
Status Lifecycle::prepare(DomId domid, const DomainSpec& spec, Domain& domain) {
  domain::DomainRecord& record = *TRY(domain::claim_record(domid));
  record.created_ns.store(MonotonicClock().now_ns());
  record.backend = config_.backend;
  record.ram_pages = spec.memory_mib * (machine::kMiB / kPageSize);
  record.name[spec.name.copy(record.name, sizeof record.name - 1)] = '\0';
  record.command_line[spec.command_line.copy(record.command_line, sizeof record.command_line - 1)] = '\0';
  domain::DomainConfiguration& configuration = record.configuration;
  configuration.image[spec.image.copy(configuration.image, sizeof configuration.image - 1)] = '\0';
  configuration.ramdisk[spec.ramdisk.copy(configuration.ramdisk, sizeof configuration.ramdisk - 1)] = '\0';

  const domain::MemoryLayout layout{record.ram_pages};
  machine::DomainMemory& memory = machine::memory_of(domid);
  memory.extent = TRY(machine_.frames().allocate_extent(layout.total_pages()));
  memory.ram_pages = record.ram_pages;

  event::DomainConfig events;
  events.max_abi = config_.event_abi;
  events.max_port = spec.max_event_channels;
  events.shared_info = memory.page(layout.shared_info());
  TRY_VOID(events_.create_domain(domid, events));
  grants_.create_domain(domid, layout.grant_frame(0), spec.max_grant_frames);
  const auto store_port = events_.alloc_unbound(kDom0, domid, kDom0);
  if (!store_port) return tl::make_unexpected(xen_error(store_port.error(), "the domain's xenstore channel"));
  const auto console_port = events_.alloc_unbound(kDom0, domid, kDom0);
  if (!console_port) return tl::make_unexpected(xen_error(console_port.error(), "the domain's console channel"));
  record.store_port = *store_port;
  record.console_port = *console_port;

  domain.place = TRY(cells_.take(domid));
  record.cell = domain.place.cell;
  record.cell_slot = domain.place.slot;
  return {};
}

void Lifecycle::unprepare(DomId domid, Domain& domain) {
  domain::DomainRecord& record = domain::record_of(domid);
  machine::DomainMemory& memory = machine::memory_of(domid);
  record.state.store(domain::State::kDying);
  if (record.cell != domain::kNoCell) cells_.give_back(domain.place);
  // From here on no event touches the domain's memory, and nobody maps its grants: then it can go.
  if (events_.domain_exists(domid)) {
    events_.destroy_domain(domid);
    grants_.destroy_domain(domid);
  }
  if (memory.extent) machine_.frames().free_extent(memory.extent);
  memory = {};
  domain::release_record(domid);
  events_.raise_global_virq(VIRQ_DOM_EXC);
}

void Lifecycle::on_cell_reply(const vcpu::CellReply& reply) {
  Domain* domain = find(reply.domid);
  if (domain == nullptr) return;
  switch (reply.kind) {
    case vcpu::CellReplyKind::kReady:
      return;
    case vcpu::CellReplyKind::kBuilt:
      if (domain->ending) {
        creation_step_done(reply.domid, {});  // destroyed meanwhile: the backends need not know it
      } else {
        on_built(reply.domid, *domain);
      }
      return;
    case vcpu::CellReplyKind::kBuildFailed:
      domain->in_cell = false;
      creation_step_done(reply.domid, fail(reply.error, reply.text));
      return;
    case vcpu::CellReplyKind::kShutdown:
      observer_(reply.shutdown_reason == SHUTDOWN_poweroff ? "shutdown" : "crashed", reply.domid, domain->name,
                reply.text[0] != '\0' ? reply.text : end_text(reply.shutdown_reason));
      if (domain->tearing_down) return;  // kDestroyed follows
      domain->in_cell = false;
      if (domain->in_xenstore) xenstore_.tell_shutdown(reply.domid);
      end(reply.domid);
      return;
    case vcpu::CellReplyKind::kDestroyed:
      domain->in_cell = false;
      teardown_step_done(reply.domid);
      return;
    case vcpu::CellReplyKind::kPaused:
    case vcpu::CellReplyKind::kUnpaused:
    case vcpu::CellReplyKind::kTriggered:
      return;  // nobody asks for them yet
  }
}

void Lifecycle::on_built(DomId domid, Domain& domain) {
  const domain::DomainRecord& record = domain::record_of(domid);
  domain.steps_under_way += 2;  // xenstore, console; the build itself counts until the end of this function
  write_xenstore_entries(domid, domain);
  domain.in_xenstore = true;
  consoles_.add({domid, domain.name, record.console_gfn, record.console_port, domain.further_consoles},
                [this, domid](const Status& status) { creation_step_done(domid, status); });
  xenstore_.introduce(domid, record.store_gfn, record.store_port, [this, domid](const Result<std::string>& reply) {
    creation_step_done(domid, reply ? Status{}
                                    : Status(fail(reply.error().code,
                                                  "polis-xenstored: introducing the domain "
                                                  "(EVTCHNOP_bind_interdomain)")));
  });
  creation_step_done(domid, {});
}

// The entries that libxl writes for a PV domain and that guests and tools read first.
void Lifecycle::write_xenstore_entries(DomId domid, const Domain& domain) {
  const domain::DomainRecord& record = domain::record_of(domid);
  const std::string home = fmt::format("/local/domain/{}", domid);
  const std::vector<std::string> guest_reads{"n0", fmt::format("r{}", domid)};
  const std::vector<std::string> guest_owns{fmt::format("n{}", domid)};
  // Permissions are inherited from the parent at creation: home first, then what the guest may only read.
  xenstore_.mkdir(home);
  xenstore_.set_permissions(home, guest_reads);
  xenstore_.write(home + "/name", domain.name);
  xenstore_.write(home + "/domid", std::to_string(domid));
  xenstore_.write(home + "/memory/target", std::to_string(record.ram_pages * (kPageSize / 1024)));
  xenstore_.write(home + "/store/port", std::to_string(record.store_port));
  xenstore_.write(home + "/store/ring-ref", std::to_string(record.store_gfn));
  for (const char* guest_directory : {"/control", "/control/shutdown", "/data", "/device"}) {
    xenstore_.mkdir(home + guest_directory);
    if (std::string_view(guest_directory) != "/control") xenstore_.set_permissions(home + guest_directory, guest_owns);
  }
}

void Lifecycle::creation_step_done(DomId domid, const Status& status) {
  Domain* domain = find(domid);
  if (domain == nullptr || domain->steps_under_way == 0) return;
  if (!status && domain->failure.empty()) {
    domain->failure = status.error().what;
    domain->failure_code = status.error().code;
  }
  if (--domain->steps_under_way != 0) return;
  if (domain->failure.empty()) {
    // Also when the guest has ended already: it ran.
    domain->running = true;
    if (const Created created = std::exchange(domain->created, {})) created(domid);
  } else {
    domain->ending = true;
  }
  if (domain->ending) tear_down(domid, *domain);
}

void Lifecycle::destroy(DomId domid, std::function<void(Status)> destroyed) {
  Domain* domain = find(domid);
  if (domain == nullptr) return destroyed(fail(ENOENT, fmt::format("there is no domain {}", domid)));
  domain->destroyed.push_back(std::move(destroyed));
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
  domain.tearing_down = true;
  domain.steps_under_way = 1;
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
      xenstore_.remove(fmt::format("/local/domain/{}", domid),
                       [this, domid](const Result<std::string>&) { teardown_step_done(domid); });
    });
  }
  teardown_step_done(domid);
}

void Lifecycle::teardown_step_done(DomId domid) {
  Domain* domain = find(domid);
  if (domain == nullptr || domain->steps_under_way == 0 || --domain->steps_under_way != 0) return;
  unprepare(domid, *domain);
  const std::unique_ptr<Domain> gone = std::move(domains_.at(domid));
  domains_.erase(domid);
  names_.erase(gone->name);
  free_domids_.push_back(domid);
  if (gone->created) {
    gone->created(gone->failure.empty() ? Result<DomId>(fail(ECANCELED, "destroyed while it was created"))
                                        : Result<DomId>(fail(gone->failure_code, gone->failure)));
  }
  observer_("destroyed", domid, gone->name, gone->failure);
  for (const auto& destroyed : gone->destroyed) destroyed({});
}

void Lifecycle::on_cell_death(const std::string& how, const std::vector<DomId>& domids) {
  for (const DomId domid : domids) {
    Domain* domain = find(domid);
    if (domain == nullptr || !domain->in_cell) continue;
    domain->in_cell = false;
    domain::DomainRecord& record = domain::record_of(domid);
    record.shutdown_reason = SHUTDOWN_crash;
    record.state.store(domain::State::kShutdown);
    record.cell = domain::kNoCell;
    events_.clear_doorbell(domid, 0);
    events_.raise_global_virq(VIRQ_DOM_EXC);
    const std::string why = fmt::format("its cell was {}", how);
    observer_("crashed", domid, domain->name, why);
    if (domain->tearing_down) {
      teardown_step_done(domid);  // the kDestroyed that will not come
      continue;
    }
    if (domain->in_xenstore) xenstore_.tell_shutdown(domid);
    if (!domain->running && domain->failure.empty()) {
      domain->failure = why;
      domain->failure_code = ECANCELED;
    }
    end(domid);
    if (!domain->in_xenstore) creation_step_done(domid, {});  // the kBuilt that will not come
  }
}

}  // namespace xenopolis::toolstack
