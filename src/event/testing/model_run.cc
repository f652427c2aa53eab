#include "event/testing/model_run.h"

#include <cstdlib>

#include "base/fault_point.h"

namespace xenopolis::event::model {
namespace {

void pass_fault_point(const char*) {
  if (ambush.countdown == 0 || --ambush.countdown != 0) return;
  write_garbage(GuestMemory(ModelRun::kHostile), ambush.kind, ambush.port, ambush.other, ambush.value);
  if (ambush.repeat == 0) return;
  --ambush.repeat;
  ambush.countdown = 1;
  ambush.value = static_cast<uint8_t>(ambush.value * 29 + 7);
  std::swap(ambush.port, ambush.other);
}

// Pages of the machine that the port table of a domain takes when numbers up to `highest` were used.
uint64_t table_pages(Port highest) {
  return highest < kInlinePorts ? 0 : 1 + highest / kPortsPerBucket + 1;
}

}  // namespace

ModelRun::ModelRun(const Options& options, Model::Mismatch mismatch)
    : world_(fresh_world(kGuests)),
      channels_(world_.channels),
      model_(std::move(mismatch)),
      hostile_(options.hostile),
      trace_(std::getenv("EVENT_MODEL_TRACE") != nullptr) {
  ambush = {};
  fault_hook.store(hostile_ ? pass_fault_point : nullptr);
  create_dom0_and_consumers(options.dom0_abi, options.many_ports);
  for (DomId domid = 1; domid <= kGuests; ++domid) {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = world_.machine.frames().allocate_extent(kRamPages + 1).value();
    memory.ram_pages = kRamPages;
    machine::doorbell(domid).running.store(-1);
    create(domid, options.guests[domid - 1u]);
  }
}

ModelRun::~ModelRun() {
  fault_hook.store(nullptr);
}

Port ModelRun::pick(DomId domid, uint8_t x) {
  constexpr uint8_t kMostly = 216;
  constexpr Port kFarAway[] = {0, 4095, 4096, EVTCHN_FIFO_NR_CHANNELS, EVTCHN_3L_NR_CHANNELS - 1, kMaxPorts, ~0u};
  if (x < kMostly) {
    if (const auto port = pick_open(domid, x)) return *port;
  }
  if (x % 4 == 3) return kFarAway[x / 4 % std::size(kFarAway)];
  const Port ballast = model_.exists(domid) ? model_.domain(domid).ballast : 0;
  return ballast + 1 + x / 4 % 16u;
}

std::optional<Port> ModelRun::pick_open(DomId domid, uint8_t x) {
  if (!model_.exists(domid) || model_.domain(domid).open.empty()) return std::nullopt;
  const auto& open = model_.domain(domid).open;
  return std::next(open.begin(), static_cast<ptrdiff_t>(x % open.size()))->first;
}

VcpuId ModelRun::pick_vcpu(DomId domid, uint8_t x) {
  const auto count = model_.exists(domid) ? static_cast<VcpuId>(model_.domain(domid).vcpus.size()) : 1;
  return x >= 240 ? count : x % count;
}

void ModelRun::step(const Step& step) {
  note("step", step.operation, step.a, step.b, step.c);
  if (step.operation % 4 == 3) {
    step_dom0(step);
  } else {
    step_guest(step);
  }
  look_around();
}

uint64_t ModelRun::pages_of_dom0() {
  const Domain& dom0 = model_.domain(kDom0);
  return dom0.pages.size() - dom0_pages_ + table_pages(dom0.highest) - table_pages(dom0.ballast);
}

void ModelRun::look_around() {
  uint64_t limit = used_pages_ + pages_of_dom0();
  for (DomId domid = 1; domid <= kGuests; ++domid) {
    const uint64_t rung = machine::doorbell(domid).wake.exchange(0);
    if (!model_.exists(domid)) continue;
    Domain& domain = model_.domain(domid);
    for (VcpuId vcpu = 0; vcpu < domain.vcpus.size(); ++vcpu) {
      model_.see_vcpu(domid, vcpu, guests_[domid].sides[vcpu].upcall_pending(), (rung >> vcpu & 1) != 0);
    }
    limit += table_pages(domain.max_port);
  }
  model_.expect(world_.machine.frames().used_pages() <= limit, "no domain makes the hypervisor use more memory");
}

void ModelRun::compare_all() {
  for (DomId domid = 0; domid <= kGuests; ++domid) {
    if (!model_.exists(domid)) continue;
    const Domain& domain = model_.domain(domid);
    for (Port port = domain.ballast + 1; port <= domain.highest + 1; ++port) {
      model_.status(kDom0, domid, port, channels_.status(kDom0, domid, port));
    }
    model_.see_counters(domid, channels_.counters(domid));
    model_.expect(channels_.abi(domid) == domain.abi, "the ABI is known");
  }
}

// Whatever is pending reaches its domain in the end, when that has unmasked it.
void ModelRun::serve_everything() {
  unmask_all_of_dom0();
  for (VcpuId vcpu = 0; vcpu < kConsumers; ++vcpu) drain(vcpu, 1000);
  for (DomId domid = 1; domid <= kGuests; ++domid) {
    if (!is_honest(domid)) continue;
    Domain& domain = model_.domain(domid);
    for (const auto& [port, channel] : domain.open) {
      mask(domid, port);
      unmask(domid, port, false);
    }
    take_all(domid);
    for (const Port port : domain.pending) {
      const bool reachable = domain.has_word(port) && domain.vcpus[domain.open.at(port).vcpu].can_be_told;
      model_.expect(!reachable, "every event is served in the end");
    }
  }
  look_around();
}

void ModelRun::end_everything() {
  for (DomId domid = 1; domid <= kGuests; ++domid) destroy(domid);
  model_.expect(world_.machine.frames().used_pages() == used_pages_ + pages_of_dom0(),
                "domains that are gone leave no page behind");
}

void ModelRun::finish(bool again) {
  note("finish");
  compare_all();
  serve_everything();
  compare_all();
  end_everything();
  if (!again) return;
  for (DomId domid = 1; domid <= kGuests; ++domid) {
    Step how = guests_[domid].creation;
    how.operation = 0;  // with everything registered
    create(domid, how);
  }
  for (DomId domid = 1; domid <= kGuests; ++domid) {
    for (DomId other = 1; other <= kGuests; ++other) connect(domid, other);
    dom0_connect(domid, domid % kConsumers);
    std::vector<Port> ports;
    for (const auto& [port, channel] : model_.domain(domid).open) ports.push_back(port);
    for (const Port port : ports) model_.send(domid, port, channels_.send(domid, port));
    look_around();
  }
  compare_all();
  serve_everything();
  compare_all();
  end_everything();
}

}  // namespace xenopolis::event::model
