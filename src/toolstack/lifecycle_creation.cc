// How domains begin.
#include <fmt/format.h>

#include <ctime>

#include "base/clock.h"
#include "domain/memory_layout.h"
#include "domain/registry.h"
#include "machine/domain_memory.h"
#include "toolstack/host_memory.h"
#include "toolstack/lifecycle.h"

namespace xenopolis::toolstack {
namespace {

using domain::Stage;

constexpr uint64_t kMemoryCheckIntervalNs = 50'000'000;

template <size_t kSize>
void put_text(char (&field)[kSize], const std::string& text) {
  field[text.copy(field, kSize - 1)] = '\0';
}

Error xen_error(XenErrno reason, std::string what) {
  return Error{static_cast<int>(reason), std::move(what)};
}

}  // namespace

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
  if (const Status valid = check(spec); !valid) return created(tl::make_unexpected(valid.error()));
  if (names_.contains(spec.name)) return refuse(EEXIST, fmt::format("a domain called {} exists", spec.name));
  // What stands in xenstore below it is one domain's.
  if (const auto other = spec.uuid.empty() ? uuids_.end() : uuids_.find(parse_uuid(spec.uuid).value());
      other != uuids_.end()) {
    return refuse(EEXIST, fmt::format("domain {} ({}) has the UUID {} already", other->second,
                                      domains_.at(other->second)->name, spec.uuid));
  }
  if (const Status memory = check_host_memory(); !memory) return created(tl::make_unexpected(memory.error()));
  start(spec, Stage::kCreating, std::move(created));
}

void Lifecycle::start(const DomainSpec& spec, Stage stage, Created created) {
  // Opened here, because a cell reaches no paths.
  SharedFds files;
  for (const auto& [path, what] : {std::pair(&spec.image, "kernel image"), std::pair(&spec.ramdisk, "ramdisk")}) {
    if (path->empty() && path == &spec.ramdisk) continue;
    Result<std::shared_ptr<const Fd>> file = files_.open(*path, what);
    if (!file) return created(tl::make_unexpected(std::move(file).error()));
    files.push_back(*std::move(file));
  }
  if (free_domids_.empty()) {
    return created(fail(ENOSPC, fmt::format("all {} domain numbers are in use", kDomIdCount - 1)));
  }
  const DomId domid = free_domids_.front();
  auto owned = std::make_unique<Domain>();
  Domain& domain = *owned;
  domain.name = spec.name;
  domain.image = spec.image;
  domain.ramdisk = spec.ramdisk;
  if (Status prepared = prepare(domid, spec, stage, domain); !prepared) {
    unprepare(domid, domain);
    return created(tl::make_unexpected(std::move(prepared).error()));
  }
  free_domids_.pop_front();
  domain.created = std::move(created);
  domain.in_cell = true;
  domain.steps_under_way = 1;
  domains_.emplace(domid, std::move(owned));
  names_[spec.name] = domid;
  uuids_[uuid_of(domain::record_of(domid))] = domid;

  vcpu::CellRequest request{};
  request.kind = vcpu::CellRequestKind::kBuild;
  request.domid = domid;
  request.slot = domain.place.slot;
  cells_.send(domain.place.cell, request, std::move(files));
}

// Everything that the cell needs to find. What it did before an error is undone by unprepare().
Status Lifecycle::prepare(DomId domid, const DomainSpec& spec, Stage stage, Domain& domain) {
  domain::DomainRecord& record = *TRY(domain::claim_record(domid));
  record.created_ns.store(MonotonicClock().now_ns());
  record.backend = config_.backend;
  record.ram_pages = spec.memory_mib * (machine::kMiB / kPageSize);
  put_text(record.name, spec.name);
  put_text(record.command_line, spec.command_line);
  domain::DomainConfiguration& configuration = record.configuration;
  put_text(configuration.image, spec.image);
  put_text(configuration.ramdisk, spec.ramdisk);
  const Uuid uuid = spec.uuid.empty() ? random_uuid() : TRY(parse_uuid(spec.uuid));
  std::copy(uuid.begin(), uuid.end(), configuration.uuid);
  configuration.max_event_channels = spec.max_event_channels;
  configuration.max_grant_frames = spec.max_grant_frames;
  configuration.further_consoles = spec.consoles;
  configuration.on_poweroff = spec.on_poweroff;
  configuration.on_reboot = spec.on_reboot;
  configuration.on_watchdog = spec.on_watchdog;
  configuration.on_crash = spec.on_crash;
  record.is_paused = spec.paused;
  record.started_s = time(nullptr);
  record.incarnation = new_incarnation();
  record.stage = stage;

  const domain::MemoryLayout layout{record.ram_pages};
  machine::DomainMemory& memory = machine::memory_of(domid);
  memory.extent = TRY(machine_.frames().allocate_extent(layout.total_pages()));
  memory.ram_pages = record.ram_pages;

  event::DomainConfig events;
  events.offered_abi = config_.event_abi;
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
  record.cell_slot = domain.place.slot;
  record.cell = domain.place.cell;
  return {};
}

void Lifecycle::on_built(DomId domid, Domain& domain) {
  const domain::DomainRecord& record = domain::record_of(domid);
  domain.steps_under_way += 2;  // xenstore, console; the build itself counts until the end of this function
  entries_.write(record);
  domain.in_xenstore = true;
  consoles_.add(consoles_of(domid), [this, domid](const Status& status) { creation_step_done(domid, status); });
  xenstore_.introduce(domid, record.store_gfn, record.store_port, [this, domid](const Result<std::string>& reply) {
    creation_step_done(domid, reply ? Status{}
                                    : Status(fail(reply.error().code,
                                                  "polis-xenstored: introducing the domain "
                                                  "(EVTCHNOP_bind_interdomain)")));
  });
  creation_step_done(domid, {});
}

void Lifecycle::creation_step_done(DomId domid, const Status& status) {
  Domain* domain = find(domid);
  if (domain == nullptr || domain->tearing_down || domain->steps_under_way == 0) return;
  if (!status && domain->failure.empty()) {
    domain->failure = status.error().what;
    domain->failure_code = status.error().code;
  }
  if (--domain->steps_under_way != 0) return;
  if (!domain->failure.empty() || domain->ending) {
    domain->ending = true;
    return tear_down(domid, *domain);
  }
  domain->running = true;
  domain::record_of(domid).stage = Stage::kUp;
  if (const Created created = std::exchange(domain->created, {})) created(domid);
  observer_("created", domid, domain->name, "");
  // The guest ran, and may have ended already.
  if (domain->has_shut_down) settle(domid);
}

}  // namespace xenopolis::toolstack
