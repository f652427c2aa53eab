#include "event/testing/event_model.h"

#include <fmt/format.h>

#include <algorithm>

namespace xenopolis::event::model {
namespace {

constexpr int kOk = 0;

bool is_per_vcpu(uint32_t virq) {
  return virq == VIRQ_TIMER || virq == VIRQ_DEBUG || virq == VIRQ_XENOPROF || virq == VIRQ_XENPMU;
}

uint32_t port_limit(const Domain& domain) {
  const uint32_t limit = domain.abi == Abi::kFifo         ? EVTCHN_FIFO_NR_CHANNELS
                         : domain.abi == Abi::kThreeLevel ? EVTCHN_3L_NR_CHANNELS
                                                          : EVTCHN_2L_NR_CHANNELS;
  return domain.max_port == 0 ? limit : std::min(limit, domain.max_port + 1);
}

}  // namespace

bool Domain::is_masked(Port port) const {
  if (!has_word(port)) return true;
  if (const auto found = masks.find(port); found != masks.end()) return found->second;
  return abi == Abi::kFifo ? pages[port / kEventWordsPerPage] : masked;
}

void Model::expect_answer(int expected, int answer, const char* operation) {
  if (answer != expected) mismatch_(fmt::format("{} answers {}, not {}", operation, answer, expected));
}

// --- who is told

void Model::ring(Vcpu& vcpu) {
  if (vcpu.has_bell) vcpu.rung = true;
}

void Model::raise_upcall(Vcpu& vcpu) {
  if (!std::exchange(vcpu.upcall, true)) ring(vcpu);
}

// `again`: it was pending and not masked before. The bitmap ABIs may say that once more or leave it.
void Model::tell(Domain& domain, Port port, bool again) {
  const Channel& channel = domain.open.at(port);
  Vcpu& vcpu = domain.vcpus[channel.vcpu];
  if (!vcpu.can_be_told || domain.is_masked(port)) return;
  if (domain.abi == Abi::kFifo) {
    if (!domain.in_line.insert(port).second) return;
    vcpu.lines[channel.priority].push_back(port);
    raise_upcall(vcpu);
  } else if (again) {
    vcpu.upcall_allowed = vcpu.ring_allowed = true;
  } else {
    vcpu.told.insert(port);
    raise_upcall(vcpu);
  }
}

void Model::deliver(Domain& domain, Port port) {
  if (domain.untrusted) return;
  const bool again = domain.is_due(port);
  if (domain.pending.insert(port).second) {
    ++domain.delivered;
    for (Vcpu& vcpu : domain.vcpus) {
      if (vcpu.polled == port || vcpu.polled == kAnyPort) ring(vcpu);
    }
  }
  tell(domain, port, again);
}

// --- life

void Model::create(DomId domid, const DomainConfig& config, bool masked) {
  expect(!exists(domid), "a domain that exists is created");
  Domain& domain = domains_[domid].emplace();
  domain.offered_abi = config.offered_abi;
  domain.max_port = config.max_port;
  domain.masked = masked;
  domain.vcpus.resize(config.vcpus);
}

void Model::destroy(DomId domid) {
  const Domain gone = std::move(domain(domid));
  domains_[domid].reset();
  for (const auto& [port, channel] : gone.open) disconnect(channel, domid);
}

void Model::set_bell(DomId domid, VcpuId vcpu, bool has_bell) {
  Vcpu& held = domain(domid).vcpus[vcpu];
  held.has_bell = has_bell;
  if (held.upcall) ring(held);
}

// --- opening

bool Model::has_number_to_reuse(const Domain& domain) const {
  const auto waits = [&](Port port) { return !domain.is_open(port); };
  const auto closed_in_line = std::count_if(domain.in_line.begin(), domain.in_line.end(), waits);
  return domain.ballast + domain.open.size() + static_cast<size_t>(closed_in_line) < domain.highest;
}

bool Model::is_known(const Domain& domain, Port port) const {
  return port < (domain.highest + 64) / 64 * 64;
}

// `error`: what is wrong with the operation besides the lack of ports. Not all that fails leaves the numbers alone.
void Model::open(Domain& domain, const Channel& channel, const XenResult<Port>& answer, int error,
                 const char* operation) {
  const int got = answer ? kOk : static_cast<int>(answer.error());
  const bool reuses = has_number_to_reuse(domain);
  const bool has_room = reuses || domain.highest + 1 < port_limit(domain);
  // How many numbers a domain has left whose queues hold garbage is anybody's guess.
  if (!domain.untrusted) {
    expect_answer(has_room ? error : ENOSPC, got, operation);
  } else if (got != ENOSPC) {
    expect_answer(error, got, operation);
  }
  if (!answer) {
    if (has_room && !reuses && error != kOk) ++domain.highest;
    return;
  }
  const Port port = *answer;
  expect(port != 0 && port < port_limit(domain), "a port number is within the domain's limit");
  expect(!domain.is_open(port) && (domain.untrusted || domain.in_line.count(port) == 0),
         "a port number that is in use is not given to another");
  expect(domain.untrusted || (reuses ? port <= domain.highest : port == domain.highest + 1),
         "a new port number is used only if there is no old one");
  domain.highest = std::max(domain.highest, port);
  domain.open.emplace(port, channel);
}

void Model::alloc_unbound(DomId self, DomId domid, DomId remote, const XenResult<Port>& answer) {
  constexpr const char* kOperation = "alloc_unbound";
  if (domid == DOMID_SELF) domid = self;
  if (remote == DOMID_SELF) remote = self;
  if (!exists(domid)) return expect_answer(ESRCH, answer, kOperation);
  if (self != domid && self != kDom0) return expect_answer(EPERM, answer, kOperation);
  open(domain(domid), {.status = EVTCHNSTAT_unbound, .remote_domid = remote}, answer, kOk, kOperation);
}

void Model::bind_interdomain(DomId self, VcpuId vcpu, DomId remote_domid, Port remote_port,
                             const XenResult<Port>& answer) {
  constexpr const char* kOperation = "bind_interdomain";
  if (remote_domid == DOMID_SELF) remote_domid = self;
  if (!exists(self) || !exists(remote_domid)) return expect_answer(ESRCH, answer, kOperation);
  auto& ports = domain(remote_domid).open;
  const auto remote = ports.find(remote_port);
  const bool offered =
      remote != ports.end() && remote->second.status == EVTCHNSTAT_unbound && remote->second.remote_domid == self;
  open(domain(self), {EVTCHNSTAT_interdomain, remote_domid, remote_port, 0, vcpu}, answer, offered ? kOk : EINVAL,
       kOperation);
  if (!answer) return;
  remote->second.status = EVTCHNSTAT_interdomain;
  remote->second.remote_port = *answer;
  deliver(domain(self), *answer);
}

void Model::bind_virq(DomId self, uint32_t virq, VcpuId vcpu, const XenResult<Port>& answer) {
  constexpr const char* kOperation = "bind_virq";
  if (!exists(self)) return expect_answer(ESRCH, answer, kOperation);
  if (virq >= NR_VIRQS || (!is_per_vcpu(virq) && vcpu != 0)) return expect_answer(EINVAL, answer, kOperation);
  Domain& owner = domain(self);
  if (vcpu >= owner.vcpus.size()) return expect_answer(ENOENT, answer, kOperation);
  if (!is_per_vcpu(virq) && virq != VIRQ_ARGO && self != kDom0) return expect_answer(EBUSY, answer, kOperation);
  if (owner.vcpus[vcpu].virqs[virq] != 0) return expect_answer(EEXIST, answer, kOperation);
  open(owner, {EVTCHNSTAT_virq, 0, 0, virq, vcpu}, answer, kOk, kOperation);
  if (answer) owner.vcpus[vcpu].virqs[virq] = *answer;
}

void Model::bind_ipi(DomId self, VcpuId vcpu, const XenResult<Port>& answer) {
  constexpr const char* kOperation = "bind_ipi";
  if (!exists(self)) return expect_answer(ESRCH, answer, kOperation);
  if (vcpu >= domain(self).vcpus.size()) return expect_answer(ENOENT, answer, kOperation);
  open(domain(self), {EVTCHNSTAT_ipi, 0, 0, 0, vcpu}, answer, kOk, kOperation);
}

// --- closing

void Model::disconnect(const Channel& channel, DomId from) {
  if (channel.status != EVTCHNSTAT_interdomain || !exists(channel.remote_domid)) return;
  const auto remote = domain(channel.remote_domid).open.find(channel.remote_port);
  // Not there: both ends are closed at once.
  if (remote != domain(channel.remote_domid).open.end())
    remote->second = [&] {
      Channel unbound = remote->second;
      unbound.status = EVTCHNSTAT_unbound;
      unbound.remote_domid = from;
      unbound.remote_port = 0;
      return unbound;
    }();
}

void Model::close_open(DomId domid, Port port) {
  Domain& owner = domain(domid);
  const Channel channel = owner.open.at(port);
  owner.open.erase(port);
  owner.pending.erase(port);
  for (Vcpu& vcpu : owner.vcpus) std::replace(vcpu.virqs.begin(), vcpu.virqs.end(), port, Port{0});
  disconnect(channel, domid);
}

void Model::close(DomId self, Port port, const XenStatus& answer) {
  if (!exists(self)) return expect_answer(ESRCH, answer, "close");
  const bool is_open = domain(self).open.count(port) != 0;
  expect_answer(is_open ? kOk : EINVAL, answer, "close");
  if (is_open) close_open(self, port);
}

void Model::reset_some(DomId self, DomId domid, uint32_t limit, const XenResult<bool>& answer) {
  if (domid == DOMID_SELF) domid = self;
  if (!exists(domid)) return expect_answer(ESRCH, answer, "reset");
  if (self != domid && self != kDom0) return expect_answer(EPERM, answer, "reset");
  Domain& owner = domain(domid);
  const Port end = owner.reset_next + limit;
  // How many numbers a domain has used that writes garbage depends on the garbage.
  const bool at_end = owner.untrusted ? !answer || *answer : end > owner.highest;
  const auto close_range = [&](Port first, Port behind_last) {
    for (auto next = owner.open.lower_bound(first); next != owner.open.end() && next->first < behind_last;
         next = owner.open.lower_bound(first)) {
      close_open(domid, next->first);
    }
  };
  close_range(owner.reset_next, end);
  owner.ballast = 0;
  owner.reset_next = at_end ? 1 : end;
  // What was opened meanwhile is closed with the last piece, or makes another round.
  const bool another_round = at_end && owner.open.size() > limit;
  expect_answer(another_round ? EAGAIN : kOk, answer, "reset");
  if (another_round) return;
  expect(*answer == at_end, "a reset ends after the last port");
  if (!at_end) return;
  close_range(1, kMaxPorts);
  if (self != domid) return;
  change_abi(owner, Abi::kTwoLevel);
  owner.highest = 0;
  owner.masks.clear();
  owner.pages.clear();
  owner.masked = owner.untrusted = false;
  for (Vcpu& vcpu : owner.vcpus) {
    vcpu.can_be_told = true;
    vcpu.upcall = false;
  }
}

// --- events

void Model::send(DomId self, Port port, const XenStatus& answer) {
  if (!exists(self)) return expect_answer(ESRCH, answer, "send");
  Domain& sender = domain(self);
  const auto found = sender.open.find(port);
  if (found == sender.open.end()) return expect_answer(EINVAL, answer, "send");
  const Channel channel = found->second;
  expect_answer(channel.status == EVTCHNSTAT_virq ? EINVAL : kOk, answer, "send");
  if (channel.status == EVTCHNSTAT_ipi) {
    ++sender.sent;
    deliver(sender, port);
  } else if (channel.status == EVTCHNSTAT_interdomain) {
    ++sender.sent;
    Domain& receiver = domain(channel.remote_domid);
    if (channel.remote_domid != kDom0 || receiver.pending.count(channel.remote_port) == 0) {
      deliver(receiver, channel.remote_port);
    }
  }
}

void Model::raise_virq(DomId domid, VcpuId vcpu, uint32_t virq) {
  if (!exists(domid) || vcpu >= domain(domid).vcpus.size()) return;
  if (const Port port = domain(domid).vcpus[vcpu].virqs[virq]; port != 0) deliver(domain(domid), port);
}

void Model::unmask(DomId self, Port port, const XenStatus& answer) {
  if (!exists(self)) return expect_answer(ESRCH, answer, "unmask");
  Domain& owner = domain(self);
  const bool is_open = owner.open.count(port) != 0;
  if (owner.untrusted && !is_open) return;
  expect_answer(is_open || is_known(owner, port) ? kOk : EINVAL, answer, "unmask");
  if (!is_open || owner.untrusted || !owner.has_word(port)) return;
  const bool again = owner.is_due(port);
  owner.masks[port] = false;
  if (owner.pending.count(port) != 0) tell(owner, port, again);
}

void Model::set_mask(DomId domid, Port port, bool masked) {
  if (domain(domid).has_word(port)) domain(domid).masks[port] = masked;
}

void Model::bind_vcpu(DomId self, Port port, VcpuId vcpu, const XenStatus& answer) {
  if (!exists(self)) return expect_answer(ESRCH, answer, "bind_vcpu");
  Domain& owner = domain(self);
  if (vcpu >= owner.vcpus.size()) return expect_answer(ENOENT, answer, "bind_vcpu");
  const auto found = owner.open.find(port);
  const bool movable = found != owner.open.end() && found->second.status != EVTCHNSTAT_ipi &&
                       (found->second.status != EVTCHNSTAT_virq || !is_per_vcpu(found->second.virq));
  expect_answer(movable ? kOk : EINVAL, answer, "bind_vcpu");
  if (movable) found->second.vcpu = vcpu;
}

void Model::set_priority(DomId self, Port port, uint32_t priority, const XenStatus& answer) {
  if (!exists(self)) return expect_answer(ESRCH, answer, "set_priority");
  Domain& owner = domain(self);
  const auto found = owner.open.find(port);
  const bool is_open = found != owner.open.end();
  if (owner.untrusted && !is_open) return;
  const int expected = !is_open && !is_known(owner, port)    ? EINVAL
                       : owner.abi != Abi::kFifo             ? ENOSYS
                       : !is_open                            ? EACCES
                       : priority > EVTCHN_FIFO_PRIORITY_MIN ? EINVAL
                                                             : kOk;
  expect_answer(expected, answer, "set_priority");
  if (expected == kOk) found->second.priority = static_cast<uint8_t>(priority);
}

}  // namespace xenopolis::event::model
