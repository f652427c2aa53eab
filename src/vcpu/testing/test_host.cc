#include "vcpu/testing/test_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "domain/memory_layout.h"

namespace xenopolis::vcpu::testing {
namespace {

event::Consumer prepare_dom0(event::EventChannels& events) {
  CHECK(event::create_dom0(events, event::Abi::kFifo).has_value());
  return event::Consumer::attach(events, 0).value();
}

}  // namespace

TestHost::TestHost(Backend& backend, const TestHostConfig& config)
    : backend_(backend),
      config_(config),
      machine_(machine::Machine::create(64 * machine::kGiB).value()),
      events_(machine_),
      grants_(machine_),
      dom0_(prepare_dom0(events_)),
      hypervisor_{machine_, events_, grants_, clock_} {
  runner_ = Runner::create(hypervisor_, {.bell = 0, .slice_ns = config.slice_ns}, [this](const Runner::Ended& ended) {
              domains_.at(ended.domid)->ended = ended;
            }).value();
}

TestHost::~TestHost() {
  while (!domains_.empty()) destroy(domains_.begin()->first);
}

Status TestHost::prepare(DomId domid, const std::string& command_line, uint64_t memory_mib) {
  domain::DomainRecord& record = domain::record_of(domid);
  std::memset(static_cast<void*>(&record), 0, sizeof record);
  record.domid = domid;
  record.ram_pages = memory_mib * machine::kMiB / kPageSize;
  record.backend = backend_.flat() ? domain::Backend::kHosted : domain::Backend::kKvm;
  fmt::format("d{}", domid).copy(record.name, sizeof record.name - 1);
  command_line.copy(record.command_line, sizeof record.command_line - 1);
  record.state.store(domain::State::kBuilding);

  const domain::MemoryLayout layout{record.ram_pages};
  machine::DomainMemory& memory = machine::memory_of(domid);
  memory.extent = TRY(machine_.frames().allocate_extent(layout.total_pages()));
  memory.ram_pages = record.ram_pages;
  event::DomainConfig events;
  events.offered_abi = config_.offered_abi;
  events.shared_info = memory.page(layout.shared_info());
  TRY_VOID(events_.create_domain(domid, events));
  grants_.create_domain(domid, layout.grant_frame(0), domain::kMaxGrantFrames);
  record.store_port = events_.alloc_unbound(kDom0, domid, kDom0).value();
  record.console_port = events_.alloc_unbound(kDom0, domid, kDom0).value();
  return {};
}

Result<DomId> TestHost::start(const std::string& image_path, const std::string& command_line, uint64_t memory_mib,
                              const std::string& ramdisk_path) {
  const DomId domid = ++last_domid_;
  auto owned = std::make_unique<Domain>();
  Domain& domain = *owned;
  while (runner_->occupied(domain.slot)) ++domain.slot;
  TRY_VOID(prepare(domid, command_line, memory_mib));
  domains_.emplace(domid, std::move(owned));

  const Fd file = TRY(open_regular_file(image_path, "kernel image"));
  const auto image = TRY(images_.load(file.get(), image_path));
  const Fd ramdisk = ramdisk_path.empty() ? Fd() : TRY(open_regular_file(ramdisk_path, "ramdisk"));
  Booted booted = TRY(boot(hypervisor_, backend_, *image, domid, ramdisk.get()));
  domain::DomainRecord& record = domain::record_of(domid);
  record.state.store(domain::State::kRunning);
  runner_->add(domain.slot, std::move(booted.domain));

  const machine::DomainMemory& memory = machine::memory_of(domid);
  domain.console_ring = reinterpret_cast<xencons_interface*>(memory.page(booted.console_gfn));
  auto* store_ring = reinterpret_cast<xenstore_domain_interface*>(memory.page(booted.store_gfn));
  domain.store = std::make_unique<FakeStore>(store_ring);
  domain.store->write("domid", std::to_string(domid));
  domain.store->write("name", record.name);
  domain.console_port = dom0_.bind_interdomain(domid, record.console_port).value();
  domain.store_port = dom0_.bind_interdomain(domid, record.store_port).value();
  ports_[domain.console_port] = ports_[domain.store_port] = domid;
  return domid;
}

void TestHost::destroy(DomId domid) {
  const auto found = domains_.find(domid);
  if (found == domains_.end()) return;
  Domain& domain = *found->second;
  if (runner_->occupied(domain.slot) && runner_->domid_of(domain.slot) == domid) runner_->remove(domain.slot);
  for (const Port port : {domain.console_port, domain.store_port}) {
    if (port == 0) continue;
    ports_.erase(port);
    (void)dom0_.close(port);
  }
  domains_.erase(found);
  events_.destroy_domain(domid);
  grants_.destroy_domain(domid);
  machine::DomainMemory& memory = machine::memory_of(domid);
  machine_.frames().free_extent(memory.extent);
  memory = {};
  domain::record_of(domid).state.store(domain::State::kFree);
}

void TestHost::drain_console(Domain& domain) {
  xencons_interface& ring = *domain.console_ring;
  const uint32_t producer = __atomic_load_n(&ring.out_prod, __ATOMIC_ACQUIRE);
  uint32_t consumer = ring.out_cons;
  if (producer - consumer > sizeof ring.out) return;  // a guest that scribbles on its ring
  for (; consumer != producer; ++consumer) domain.console += ring.out[consumer % sizeof ring.out];
  __atomic_store_n(&ring.out_cons, consumer, __ATOMIC_RELEASE);
  (void)dom0_.send(domain.console_port);
}

void TestHost::serve(DomId domid) {
  Domain& domain = *domains_.at(domid);
  if (domain.store->serve()) (void)dom0_.send(domain.store_port);
}

void TestHost::on_event(Port port) {
  const auto found = ports_.find(port);
  if (found == ports_.end()) {
    if (on_dom0_event) on_dom0_event(port);
    return;
  }
  Domain& domain = *domains_.at(found->second);
  if (port == domain.console_port) {
    drain_console(domain);
  } else {
    serve(found->second);
  }
}

bool TestHost::run_until(const std::function<bool()>& done, uint64_t patience_ns) {
  const uint64_t give_up_ns = clock_.now_ns() + patience_ns;
  for (;;) {
    dom0_.drain([this](Port port) { on_event(port); });
    if (done()) return true;
    if (clock_.now_ns() > give_up_ns) return false;
    runner_->turn();
    // Dom0's events do not ring the runner's bell.
    if (runner_->idle()) runner_->sleep(clock_.now_ns() + 200'000);
  }
}

bool TestHost::run_until_ended(DomId domid, uint64_t patience_ns) {
  if (!run_until([&] { return ended(domid); }, patience_ns)) return false;
  drain_console(*domains_.at(domid));
  return true;
}

}  // namespace xenopolis::vcpu::testing
