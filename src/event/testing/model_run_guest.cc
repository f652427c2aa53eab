// What guests do, and what the toolstack does to them.
#include "event/testing/model_run.h"

namespace xenopolis::event::model {
namespace {

enum class Operation : uint8_t {
  kAllocUnbound,
  kBind,
  kConnect,
  kClose,
  kSend,
  kTake,
  kMask,
  kUnmask,
  kBindVcpu,
  kSetPriority,
  kBindVirq,
  kBindIpi,
  kRaiseVirq,
  kStatus,
  kRegister,
  kReset,
  kLife,
  kPoll,
  kEndPoll,
  kMoveInfo,
  kBell,
  kAttack,
  kAmbush,
  kOddPlace
};

// As often as each stands here.
constexpr Operation kOperations[] = {
    Operation::kAllocUnbound, Operation::kBind,        Operation::kConnect,  Operation::kConnect,
    Operation::kConnect,      Operation::kClose,       Operation::kSend,     Operation::kSend,
    Operation::kSend,         Operation::kSend,        Operation::kSend,     Operation::kSend,
    Operation::kTake,         Operation::kTake,        Operation::kTake,     Operation::kMask,
    Operation::kMask,         Operation::kUnmask,      Operation::kUnmask,   Operation::kBindVcpu,
    Operation::kBindVcpu,     Operation::kSetPriority, Operation::kBindVirq, Operation::kBindIpi,
    Operation::kRaiseVirq,    Operation::kStatus,      Operation::kRegister, Operation::kRegister,
    Operation::kRegister,     Operation::kReset,       Operation::kLife,     Operation::kPoll,
    Operation::kEndPoll,      Operation::kMoveInfo,    Operation::kBell,     Operation::kAttack,
    Operation::kAttack,       Operation::kAttack,      Operation::kAttack,   Operation::kAmbush,
    Operation::kAmbush,       Operation::kAmbush,      Operation::kOddPlace, Operation::kSetPriority};

constexpr DomId kNobody = 999;
constexpr Port kRoom = 12;  // ports of each guest, besides its ballast

// Ports begin in the first word of bitmaps, mostly; before the next one; at the end of the inline slots, whose
// successors take pages; rarely, for it takes long, at the end of the event array's first page.
Port ballast_of(uint8_t c) {
  return c % 64 == 63 ? 1020 : c % 16 == 15 ? 124 : c % 2 == 1 ? 60 : 0;
}

}  // namespace

void ModelRun::step_guest(const Step& step) {
  const auto [number, a, b, c] = step;
  const DomId self = guest(a);
  const auto other = static_cast<DomId>(b % (kGuests + 1));
  switch (kOperations[(number / 4u * 3 + number % 4u) % std::size(kOperations)]) {
    case Operation::kAllocUnbound: {
      const DomId of = c % 8 == 0 ? other : c % 8 == 1 ? kNobody : c % 2 == 0 ? self : DomId{DOMID_SELF};
      const DomId remote = c >= 240 ? kNobody : c >= 224 ? DomId{DOMID_SELF} : other;
      return model_.alloc_unbound(self, of, remote, channels_.alloc_unbound(self, of, remote));
    }
    case Operation::kBind:
      return bind(self, other, c);
    case Operation::kConnect:
      return connect(self, guest(b));
    case Operation::kClose: {
      const Port port = pick(self, b);
      note("close", self, port);
      return model_.close(self, port, channels_.close(self, port));
    }
    case Operation::kSend:
      return send_from(self, b);
    case Operation::kTake:
      return is_honest(self) ? take(self, b % static_cast<VcpuId>(guests_[self].sides.size())) : void();
    case Operation::kMask:
      return mask(self, pick(self, b));
    case Operation::kUnmask:
      return unmask(self, pick(self, b), c % 2 != 0);
    case Operation::kBindVcpu: {
      const Port port = pick(self, b);
      const VcpuId vcpu = pick_vcpu(self, c);
      note("bind_vcpu", self, port, vcpu);
      return model_.bind_vcpu(self, port, vcpu, channels_.bind_vcpu(self, port, vcpu));
    }
    case Operation::kSetPriority: {
      const Port port = pick(self, b);
      const uint32_t priority = c < 240 ? c % kPriorities : c;
      note("set_priority", self, port, priority);
      return model_.set_priority(self, port, priority, channels_.set_priority(self, port, priority));
    }
    case Operation::kBindVirq: {
      constexpr uint32_t kVirqs[] = {VIRQ_TIMER, VIRQ_DEBUG, VIRQ_ARGO, VIRQ_DOM_EXC, NR_VIRQS};
      const uint32_t virq = kVirqs[b % std::size(kVirqs)];
      const VcpuId vcpu = pick_vcpu(self, c);
      return model_.bind_virq(self, virq, vcpu, channels_.bind_virq(self, virq, vcpu));
    }
    case Operation::kBindIpi:
      return model_.bind_ipi(self, pick_vcpu(self, b), channels_.bind_ipi(self, pick_vcpu(self, b)));
    case Operation::kRaiseVirq: {
      const uint32_t virq = b % 2 == 0 ? VIRQ_TIMER : b % 4 == 1 ? VIRQ_DEBUG : VIRQ_ARGO;
      channels_.raise_virq(self, pick_vcpu(self, c), virq);
      return model_.raise_virq(self, pick_vcpu(self, c), virq);
    }
    case Operation::kStatus: {
      const DomId of = b % 32 == 31 ? kNobody : b % 32 == 30 ? DomId{DOMID_SELF} : other;
      const Port port = pick(of == DOMID_SELF ? self : of, c);
      return model_.status(self, of, port, channels_.status(self, of, port));
    }
    case Operation::kRegister:
      return register_something(self, b, c);
    case Operation::kReset: {
      const DomId who = b % 4 == 0 ? kDom0 : b % 4 == 1 ? guest(b) : self;
      const Port ballast = model_.exists(self) ? model_.domain(self).ballast : 0;
      return reset(who, who == self && c % 2 == 0 ? DomId{DOMID_SELF} : self,
                   c % 3 == 0 ? ballast + 1 + c % 8u : kMaxPorts);
    }
    case Operation::kLife:
      if (!model_.exists(self)) return create(self, step);
      destroy(self);
      return c % 4 == 0 ? void() : create(self, step);
    case Operation::kPoll:
      return poll(self, pick_vcpu(self, b), c);
    case Operation::kEndPoll:
      channels_.end_poll(self, pick_vcpu(self, b));
      return model_.end_poll(self, pick_vcpu(self, b));
    case Operation::kMoveInfo:
      return move_vcpu_info(self, pick_vcpu(self, b));
    case Operation::kBell: {
      if (!model_.exists(self)) return;
      const VcpuId vcpu = b % static_cast<VcpuId>(guests_[self].sides.size());
      note("bell", self, vcpu, c % 2);
      if (c % 2 == 0) {
        channels_.clear_doorbell(self, vcpu);
      } else {
        channels_.set_doorbell(self, vcpu, self, vcpu);
      }
      return model_.set_bell(self, vcpu, c % 2 != 0);
    }
    case Operation::kAttack:
      return attack(a, b, c);
    case Operation::kAmbush:
      if (!hostile_ || !model_.exists(kHostile)) return;
      model_.distrust(kHostile);
      ambush = {.countdown = 1u + a % 40u,
                .repeat = a / 40u,
                .kind = static_cast<uint8_t>(b % 12),
                .port = pick(kHostile, c),
                .other = pick(kHostile, static_cast<uint8_t>(c * 7)),
                .value = static_cast<uint8_t>(b * 5 + c)};
      return;
    case Operation::kOddPlace:
      return offer_odd_place(a, b, c);
  }
}

// --- life

void ModelRun::create(DomId domid, const Step& how) {
  Guest& guest = guests_[domid];
  const Port ballast = ballast_of(how.c);
  DomainConfig config{
      .offered_abi = static_cast<Abi>(how.b % 3), .max_port = ballast + kRoom, .vcpus = 1u + how.b / 3 % 3u};
  note("create", domid, name_of(config.offered_abi), config.vcpus, ballast);
  const GuestMemory memory(domid);
  memory.wipe();
  if (domid == kHostile) ambush = {};
  config.shared_info = memory.shared();
  model_.expect(channels_.create_domain(domid, config).has_value(), "a domain can be created");
  model_.create(domid, config, false);
  guest = {};
  guest.creation = how;
  for (VcpuId vcpu = 0; vcpu < config.vcpus; ++vcpu) {
    guest.sides.emplace_back(channels_, domid, vcpu);
    channels_.set_doorbell(domid, vcpu, domid, vcpu);
    model_.set_bell(domid, vcpu, true);
  }
  for (Port port = 1; port <= ballast; ++port) {
    model_.expect(channels_.alloc_unbound(domid, domid, kNobody).value_or(0) == port, "ports are new at first");
  }
  model_.domain(domid).ballast = model_.domain(domid).highest = ballast;
  if (how.operation % 2 == 0) register_all(domid, false);
}

void ModelRun::destroy(DomId domid) {
  if (!model_.exists(domid)) return;
  note("destroy", domid);
  if (domid == kHostile) ambush = {};
  channels_.destroy_domain(domid);
  machine::doorbell(domid).wake.store(0);  // its runner has gone too
  model_.expect(!channels_.domain_exists(domid), "a domain can be destroyed");
  model_.destroy(domid);
}

void ModelRun::reset(DomId self, DomId domid, uint32_t limit) {
  note("reset", self, domid, limit);
  const auto done = channels_.reset_some(self, domid, limit);
  const DomId whom = domid == DOMID_SELF ? self : domid;
  const bool was_honest = is_honest(whom);
  model_.reset_some(self, domid, limit, done);
  if (!done || !*done || self != whom) return;
  if (was_honest) {
    GuestMemory(whom).clean();
  } else {
    GuestMemory(whom).wipe();
  }
  Guest& guest = guests_[whom];
  if (whom == kHostile) ambush = {};
  for (VcpuId vcpu = 0; vcpu < guest.sides.size(); ++vcpu) {
    channels_.end_poll(whom, vcpu);
    model_.end_poll(whom, vcpu);
  }
  if (guest.info_misplaced) model_.distrust(whom);
}

// --- memory for the ABI

void ModelRun::register_all(DomId domid, bool masked) {
  const Domain& domain = model_.domain(domid);
  if (domain.offered_abi == Abi::kTwoLevel) return;
  const uint8_t masks = masked ? 1 : 0;
  const auto count = static_cast<uint8_t>(domain.vcpus.size());
  if (domain.offered_abi == Abi::kThreeLevel) register_something(domid, 0, 0);
  for (uint8_t vcpu = 0; vcpu < count; ++vcpu) register_something(domid, 1, vcpu);
  const Port last = domain.max_port;
  while (domain.offered_abi == Abi::kFifo && domain.abi == Abi::kFifo && !domain.has_word(last)) {
    register_something(domid, 2, masks);
  }
}

void ModelRun::register_something(DomId domid, uint8_t b, uint8_t c) {
  const bool good = b < 232;
  if (!model_.exists(domid)) return;
  Domain& domain = model_.domain(domid);
  const GuestMemory memory(domid);
  const VcpuId vcpu = pick_vcpu(domid, c);
  const uint32_t offset = vcpu % kMaxVcpus * kControlStride + (good ? 0 : b % 2);
  const bool bitmaps = domain.offered_abi == Abi::kThreeLevel;
  switch (b % 3) {
    case 0: {
      if (!bitmaps && good) return register_something(domid, 1, c);  // the others have no such thing
      Gfn pending[kBitmapFrames], mask[kBitmapFrames];
      for (uint32_t index = 0; index < kBitmapFrames; ++index) {
        pending[index] = kPendingGfn + index;
        mask[index] = kMaskGfn + index;
      }
      if (domain.abi == Abi::kTwoLevel && !domain.untrusted) {
        std::memset(memory.page(kPendingGfn), 0, (kRamPages - kPendingGfn) * kPageSize);
      }
      if (!good)
        (b % 2 == 0 ? mask : pending)[c % kBitmapFrames] = c % 2 == 0 ? kRamPages : pending[(c + 1) % kBitmapFrames];
      note("register_bitmaps", domid, good);
      return model_.register_bitmaps(domid, good, channels_.register_bitmaps(domid, pending, mask));
    }
    case 1: {
      note(bitmaps ? "register_selector" : "init_control", domid, vcpu, good);
      const Gfn gfn = good || b % 2 != 0 ? kControlGfn : kRamPages;
      if (bitmaps) {
        return model_.register_selector(domid, vcpu, good, channels_.register_selector(domid, vcpu, gfn, offset));
      }
      uint8_t link_bits = 0;
      return model_.init_control(domid, vcpu, good, channels_.init_control(domid, vcpu, gfn, offset, link_bits));
    }
    default: {
      const auto index = static_cast<Gfn>(domain.pages.size());
      if (index >= kArrayPages) return;
      const bool masked = c % 2 != 0;
      if (domain.abi == Abi::kFifo && !domain.untrusted) {
        std::fill_n(memory.at<event_word_t>(kArrayGfn + index), kEventWordsPerPage, masked ? kMaskedBit : 0);
      }
      note("expand_array", domid, masked, good);
      const Gfn gfn = good ? kArrayGfn + index : kRamPages;
      return model_.expand_array(domid, good, masked, channels_.expand_array(domid, gfn));
    }
  }
}

void ModelRun::move_vcpu_info(DomId domid, VcpuId vcpu) {
  if (!model_.exists(domid)) return;
  const bool known = vcpu < model_.domain(domid).vcpus.size();
  note("register_vcpu_info", domid, vcpu);
  const bool place = known && !guests_[domid].info_moved[vcpu];
  model_.register_vcpu_info(domid, vcpu, place,
                            channels_.register_vcpu_info(domid, vcpu, &GuestMemory(domid).info(vcpu % kMaxVcpus)));
  if (known) guests_[domid].info_moved[vcpu] = true;
}

// --- channels

void ModelRun::connect(DomId self, DomId other) {
  const auto offered = channels_.alloc_unbound(other, DOMID_SELF, self);
  model_.alloc_unbound(other, DOMID_SELF, self, offered);
  if (!offered) return;
  const auto bound = channels_.bind_interdomain(self, other, *offered);
  note("connect", self, bound.value_or(0), other, *offered);
  model_.bind_interdomain(self, 0, other, *offered, bound);
}

void ModelRun::bind(DomId self, DomId other, uint8_t c) {
  const DomId named = c >= 248 ? kNobody : other == self && c % 2 == 0 ? DomId{DOMID_SELF} : other;
  const Port port = pick(other, c);
  const auto bound = channels_.bind_interdomain(self, named, port);
  note("bind_interdomain", self, named, port, bound.value_or(0));
  model_.bind_interdomain(self, 0, named, port, bound);
}

void ModelRun::send_from(DomId self, uint8_t x) {
  const Port port = pick(self, x);
  note("send", self, port);
  model_.send(self, port, channels_.send(self, port));
}

void ModelRun::take(DomId domid, VcpuId vcpu) {
  if (!model_.domain(domid).vcpus[vcpu].can_be_told) return;
  const std::vector<Port> taken = guests_[domid].sides[vcpu].take();
  note("take", domid, vcpu, fmt::format("{}", fmt::join(taken, ",")));
  model_.take(domid, vcpu, taken);
}

void ModelRun::take_all(DomId domid) {
  for (VcpuId vcpu = 0; vcpu < guests_[domid].sides.size(); ++vcpu) take(domid, vcpu);
}

void ModelRun::mask(DomId domid, Port port) {
  if (!is_honest(domid) || port > model_.domain(domid).max_port || !model_.domain(domid).has_word(port)) return;
  note("mask", domid, port);
  guests_[domid].sides[0].set_mask(port, true);
  model_.set_mask(domid, port, true);
}

// In memory, as a guest may that then looks whether there is something pending.
void ModelRun::unmask(DomId domid, Port port, bool in_memory) {
  note("unmask", domid, port, in_memory);
  if (in_memory && is_honest(domid) && port <= model_.domain(domid).max_port && model_.domain(domid).has_word(port)) {
    Domain& domain = model_.domain(domid);
    const bool pending = domain.pending.count(port) != 0;
    if (!pending || domain.abi == Abi::kFifo) {
      guests_[domid].sides[0].set_mask(port, false);
      model_.set_mask(domid, port, false);
    }
    if (!pending) return;
  }
  model_.unmask(domid, port, channels_.unmask(domid, port));
}

void ModelRun::poll(DomId self, VcpuId vcpu, uint8_t c) {
  std::vector<Port> ports;
  for (uint8_t index = 0; index < c % 4; ++index) ports.push_back(pick(self, static_cast<uint8_t>(c + index * 13)));
  if (c == 255) ports.assign(129, 1);
  note("poll", self, vcpu, fmt::format("{}", fmt::join(ports, ",")));
  model_.begin_poll(self, vcpu, ports,
                    channels_.begin_poll(self, vcpu, ports.data(), static_cast<uint32_t>(ports.size())));
}

// --- hostile

void ModelRun::attack(uint8_t a, uint8_t b, uint8_t c) {
  if (!hostile_ || !model_.exists(kHostile)) return;
  model_.distrust(kHostile);
  write_garbage(GuestMemory(kHostile), static_cast<uint8_t>(a % 12), pick(kHostile, b),
                pick(kHostile, static_cast<uint8_t>(b * 7)), c);
}

// Pages that it offers twice, or that lie over each other.
void ModelRun::offer_odd_place(uint8_t a, uint8_t b, uint8_t c) {
  if (!hostile_ || !model_.exists(kHostile)) return;
  model_.distrust(kHostile);
  Domain& domain = model_.domain(kHostile);
  const Gfn gfn = b % kRamPages;
  const VcpuId vcpu = pick_vcpu(kHostile, c);
  const uint32_t offset = c % 64u * 8;
  note("odd place", a, gfn, vcpu, offset);
  switch (a % 5) {
    case 0: {
      uint8_t link_bits = 0;
      return model_.init_control(kHostile, vcpu, true, channels_.init_control(kHostile, vcpu, gfn, offset, link_bits));
    }
    case 1:
      return model_.expand_array(kHostile, true, false, channels_.expand_array(kHostile, gfn));
    case 2: {
      Gfn pending[kBitmapFrames], mask[kBitmapFrames];
      for (uint32_t index = 0; index < kBitmapFrames; ++index) {
        pending[index] = (gfn + 2 * index) % kRamPages;
        mask[index] = (gfn + 2 * index + 1) % kRamPages;
      }
      return model_.register_bitmaps(kHostile, true, channels_.register_bitmaps(kHostile, pending, mask));
    }
    case 3:
      return model_.register_selector(kHostile, vcpu, true, channels_.register_selector(kHostile, vcpu, gfn, offset));
    default: {
      Guest& guest = guests_[kHostile];
      if (vcpu >= domain.vcpus.size()) return;
      const bool place = !guest.info_moved[vcpu];
      guest.info_moved[vcpu] = true;
      guest.info_misplaced |= place;
      auto* info = GuestMemory(kHostile).at<vcpu_info>(gfn, c % 64u * sizeof(vcpu_info));
      return model_.register_vcpu_info(kHostile, vcpu, place, channels_.register_vcpu_info(kHostile, vcpu, info));
    }
  }
}

}  // namespace xenopolis::event::model
