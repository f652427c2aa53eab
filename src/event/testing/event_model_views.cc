// The model of changing to another ABI, of serving events, and of what can be seen from outside.
#include <algorithm>

#include "event/testing/event_model.h"

namespace xenopolis::event::model {
namespace {

constexpr int kOk = 0;
constexpr size_t kMaxPolledPorts = 128;
constexpr const char* kInOrder = "events are served by priority, and in the order that they came in";

}  // namespace

// --- the guest offers memory

// Whom to tell of what is pending is decided anew.
void Model::change_abi(Domain& domain, Abi abi) {
  domain.abi = abi;
  domain.in_line.clear();
  for (Vcpu& vcpu : domain.vcpus) {
    vcpu.can_be_told = false;
    vcpu.told.clear();
    for (auto& line : vcpu.lines) line.clear();
  }
}

void Model::init_control(DomId self, VcpuId vcpu, bool place, const XenStatus& answer) {
  constexpr const char* kOperation = "init_control";
  if (!exists(self)) return expect_answer(ESRCH, answer, kOperation);
  Domain& owner = domain(self);
  if (owner.offered_abi != Abi::kFifo) return expect_answer(ENOSYS, answer, kOperation);
  if (vcpu >= owner.vcpus.size()) return expect_answer(ENOENT, answer, kOperation);
  const bool again = owner.abi == Abi::kFifo && owner.vcpus[vcpu].can_be_told;
  expect_answer(place && !again ? kOk : EINVAL, answer, kOperation);
  if (!answer) return;
  if (owner.abi != Abi::kFifo) {
    change_abi(owner, Abi::kFifo);
    owner.masks.clear();  // masks are in the event array now
    owner.pages.clear();
  }
  owner.vcpus[vcpu].can_be_told = true;
}

void Model::expand_array(DomId self, bool place, bool masked, const XenStatus& answer) {
  constexpr const char* kOperation = "expand_array";
  if (!exists(self)) return expect_answer(ESRCH, answer, kOperation);
  Domain& owner = domain(self);
  if (owner.offered_abi != Abi::kFifo) return expect_answer(ENOSYS, answer, kOperation);
  if (owner.abi != Abi::kFifo) return expect_answer(EOPNOTSUPP, answer, kOperation);
  if (owner.pages.size() >= kMaxArrayPages) return expect_answer(ENOSPC, answer, kOperation);
  expect_answer(place ? kOk : EINVAL, answer, kOperation);
  if (answer) add_array_page(owner, masked);
}

void Model::add_array_page(Domain& domain, bool masked) {
  domain.pages.push_back(masked);
  if (domain.untrusted) return;
  // What has become pending meanwhile is told now.
  for (const Port port : domain.pending) {
    if (port / kEventWordsPerPage == domain.pages.size() - 1) tell(domain, port, false);
  }
}

void Model::register_bitmaps(DomId self, bool place, const XenStatus& answer) {
  constexpr const char* kOperation = "register_bitmaps";
  if (!exists(self)) return expect_answer(ESRCH, answer, kOperation);
  Domain& owner = domain(self);
  if (owner.offered_abi != Abi::kThreeLevel) return expect_answer(ENOSYS, answer, kOperation);
  if (!place) return expect_answer(EINVAL, answer, kOperation);
  expect_answer(owner.abi == Abi::kTwoLevel ? kOk : EBUSY, answer, kOperation);
  if (answer) change_abi(owner, Abi::kThreeLevel);
}

void Model::register_selector(DomId self, VcpuId vcpu, bool place, const XenStatus& answer) {
  constexpr const char* kOperation = "register_selector";
  if (!exists(self)) return expect_answer(ESRCH, answer, kOperation);
  Domain& owner = domain(self);
  if (owner.offered_abi != Abi::kThreeLevel) return expect_answer(ENOSYS, answer, kOperation);
  if (vcpu >= owner.vcpus.size()) return expect_answer(ENOENT, answer, kOperation);
  if (!place) return expect_answer(EINVAL, answer, kOperation);
  if (owner.abi != Abi::kThreeLevel) return expect_answer(EOPNOTSUPP, answer, kOperation);
  Vcpu& told = owner.vcpus[vcpu];
  expect_answer(told.can_be_told ? EINVAL : kOk, answer, kOperation);
  if (!answer) return;
  told.can_be_told = true;
  told.told = owner.pending;
  told.upcall = true;
  ring(told);
}

void Model::register_vcpu_info(DomId domid, VcpuId vcpu, bool place, const XenStatus& answer) {
  constexpr const char* kOperation = "register_vcpu_info";
  if (!exists(domid)) return expect_answer(ESRCH, answer, kOperation);
  Domain& owner = domain(domid);
  if (vcpu >= owner.vcpus.size()) return expect_answer(ENOENT, answer, kOperation);
  expect_answer(place ? kOk : EINVAL, answer, kOperation);
  if (!answer) return;
  Vcpu& moved = owner.vcpus[vcpu];
  if (owner.abi == Abi::kTwoLevel) moved.told = owner.pending;
  moved.upcall = true;
  ring(moved);
}

// --- SCHEDOP_poll

void Model::begin_poll(DomId self, VcpuId vcpu, const std::vector<Port>& ports, const XenResult<bool>& answer) {
  constexpr const char* kOperation = "begin_poll";
  if (!exists(self)) return expect_answer(ESRCH, answer, kOperation);
  Domain& owner = domain(self);
  if (vcpu >= owner.vcpus.size()) return expect_answer(ENOENT, answer, kOperation);
  if (ports.size() > kMaxPolledPorts) return expect_answer(EINVAL, answer, kOperation);
  if (owner.untrusted) return;
  // The first port that is closed or pending decides.
  const auto decides = [&](Port port) { return owner.open.count(port) == 0 || owner.pending.count(port) != 0; };
  const auto deciding = std::find_if(ports.begin(), ports.end(), decides);
  const bool closed = deciding != ports.end() && owner.open.count(*deciding) == 0;
  expect_answer(closed ? EINVAL : kOk, answer, kOperation);
  if (answer) expect(*answer == (deciding != ports.end()), "poll finds what is pending, and nothing else");
  owner.vcpus[vcpu].polled.reset();
  if (deciding == ports.end()) owner.vcpus[vcpu].polled = ports.size() == 1 ? ports[0] : kAnyPort;
}

void Model::end_poll(DomId self, VcpuId vcpu) {
  if (exists(self) && vcpu < domain(self).vcpus.size()) domain(self).vcpus[vcpu].polled.reset();
}

// --- serving

// The highest priority first, and in the order that they came in; those that are not due are passed over.
Port Model::serve_next(Domain& domain, Vcpu& vcpu) {
  for (auto& line : vcpu.lines) {
    while (!line.empty()) {
      const Port port = line.front();
      line.erase(line.begin());
      domain.in_line.erase(port);
      if (!domain.is_due(port)) continue;
      domain.pending.erase(port);
      return port;
    }
  }
  return 0;
}

void Model::take(DomId domid, VcpuId vcpu, const std::vector<Port>& taken) {
  Domain& owner = domain(domid);
  Vcpu& server = owner.vcpus[vcpu];
  server.upcall = false;
  if (owner.abi == Abi::kFifo) {
    for (const Port port : taken) expect(port == serve_next(owner, server), kInOrder);
    expect(serve_next(owner, server) == 0, "whatever a vCPU was told of is served");
    return;
  }
  const std::set<Port> once(taken.begin(), taken.end());
  expect(once.size() == taken.size(), "an event is served once");
  for (const Port port : taken) expect(owner.is_due(port), "only what is pending and not masked is served");
  for (const Port port : server.told) {
    expect(!owner.is_due(port) || once.count(port) != 0, "what the vCPU was told of is served");
  }
  server.told.clear();
  for (const Port port : taken) owner.pending.erase(port);
}

// --- Dom0's consumers

void Model::grow_dom0_array(Port port) {
  Domain& dom0 = domain(kDom0);
  while (!dom0.has_word(port)) add_array_page(dom0, true);
}

void Model::consumer_unmask(Port port) {
  Domain& dom0 = domain(kDom0);
  if (!dom0.has_word(port)) return;
  const bool again = dom0.is_due(port);
  dom0.masks[port] = false;
  if (dom0.pending.count(port) != 0) tell(dom0, port, again);
}

void Model::consumer_bind(VcpuId vcpu, DomId remote_domid, Port remote_port, const XenResult<Port>& answer) {
  bind_interdomain(kDom0, vcpu, remote_domid, remote_port, answer);
  if (!answer) return;
  grow_dom0_array(*answer);
  consumer_unmask(*answer);
}

void Model::consumer_bind_virq(VcpuId vcpu, uint32_t virq, const XenResult<Port>& answer) {
  bind_virq(kDom0, virq, vcpu, answer);
  if (!answer) return;
  grow_dom0_array(*answer);
  consumer_unmask(*answer);
}

void Model::consumer_close(Port port, const XenStatus& answer) {
  set_mask(kDom0, port, true);
  close(kDom0, port, answer);
}

void Model::consumer_take_over(VcpuId vcpu, Port port, const XenStatus& answer) {
  Domain& dom0 = domain(kDom0);
  grow_dom0_array(port);
  const bool was_masked = dom0.is_masked(port);
  dom0.masks[port] = true;
  bind_vcpu(kDom0, port, vcpu, answer);
  if (!was_masked) consumer_unmask(port);
}

bool Model::consumer_has_work(VcpuId vcpu) {
  Domain& dom0 = domain(kDom0);
  const auto is_due = [&](Port port) { return dom0.is_due(port) && dom0.open.at(port).vcpu == vcpu; };
  const auto in_line = [&](Port port) { return dom0.is_due(port); };
  const Vcpu& server = dom0.vcpus[vcpu];
  return std::any_of(server.told.begin(), server.told.end(), is_due) ||
         std::any_of(server.lines.begin(), server.lines.end(),
                     [&](const auto& line) { return std::any_of(line.begin(), line.end(), in_line); });
}

void Model::consumer_serves(VcpuId vcpu, Port port) {
  Domain& dom0 = domain(kDom0);
  Vcpu& server = dom0.vcpus[vcpu];
  if (dom0.abi == Abi::kFifo) return expect(port == serve_next(dom0, server), kInOrder);
  expect(dom0.is_due(port) && dom0.open.at(port).vcpu == vcpu, "a vCPU of Dom0 serves what is pending and its own");
  dom0.pending.erase(port);
  server.told.erase(port);
}

void Model::consumer_drained(VcpuId vcpu, uint32_t budget, uint32_t served) {
  Domain& dom0 = domain(kDom0);
  Vcpu& server = dom0.vcpus[vcpu];
  expect(served <= budget, "a drain ends with its budget");
  if (served == budget) return;
  expect(!consumer_has_work(vcpu), "a drain that ends before its budget has served everything");
  serve_next(dom0, server);  // takes what is not due off the lines
  server.told.clear();
}

void Model::consumer_succeeded(VcpuId vcpu) {
  Domain& dom0 = domain(kDom0);
  Vcpu& server = dom0.vcpus[vcpu];
  if (dom0.abi != Abi::kFifo) {
    server.told = dom0.pending;
    return;
  }
  // Everything queues up anew.
  std::set<Port> left;
  for (auto& line : server.lines) {
    left.insert(line.begin(), line.end());
    line.clear();
  }
  for (const Port port : left) dom0.in_line.erase(port);
  for (const Port port : left) {
    if (dom0.is_due(port)) tell(dom0, port, false);
  }
}

// --- views

void Model::status(DomId self, DomId domid, Port port, const XenResult<PortStatus>& answer) {
  if (domid == DOMID_SELF) domid = self;
  if (!exists(domid)) return expect_answer(ESRCH, answer, "status");
  const Domain& owner = domain(domid);
  const bool is_open = owner.open.count(port) != 0;
  if (owner.untrusted && !is_open) return;
  if (!is_open && !is_known(owner, port)) return expect_answer(EINVAL, answer, "status");
  if (self != domid && self != kDom0) return expect_answer(EPERM, answer, "status");
  expect_answer(kOk, answer, "status");
  const bool was_used = port != 0 && port <= owner.highest;
  PortStatus expected;
  if (is_open) {
    const Channel& channel = owner.open.at(port);
    expected = {channel.status,      channel.vcpu, channel.remote_domid,
                channel.remote_port, channel.virq, channel.priority};
  }
  expect(answer->status == expected.status, "the kind of channel is known");
  expect(answer->vcpu == expected.vcpu, "the vCPU that is notified is known");
  expect(answer->remote_domid == expected.remote_domid && answer->remote_port == expected.remote_port,
         "the other end is known");
  expect(answer->virq == expected.virq, "the virq is known");
  expect(answer->priority == expected.priority, "the priority is known");
  if (owner.untrusted) return;
  expect(answer->pending == (owner.pending.count(port) != 0), "what is pending is known");
  expect(answer->masked == (was_used && owner.is_masked(port)), "what is masked is known");
}

void Model::see_vcpu(DomId domid, VcpuId vcpu, bool upcall, bool rung) {
  Domain& owner = domain(domid);
  Vcpu& seen = owner.vcpus[vcpu];
  if (!owner.untrusted) {
    expect(upcall || !seen.upcall, "a vCPU that is told of an event gets its upcall");
    expect(!upcall || seen.upcall || seen.upcall_allowed, "no upcall comes without an event");
    expect(rung || !seen.rung, "who waits for an event is woken");
    expect(!rung || seen.rung || (seen.ring_allowed && seen.has_bell), "nobody is woken without an event");
    seen.upcall = upcall;
  }
  seen.rung = seen.upcall_allowed = seen.ring_allowed = false;
}

void Model::see_counters(DomId domid, const DomainCounters& counters) {
  const Domain& owner = domain(domid);
  expect(counters.open_ports == owner.ballast + owner.open.size(), "open ports are counted");
  expect(counters.events_sent == owner.sent, "sent events are counted");
  expect(owner.was_untrusted || counters.events_delivered == owner.delivered, "delivered events are counted");
}

}  // namespace xenopolis::event::model
