// What Dom0 does: two of its vCPUs have consumers.
#include <poll.h>

#include <set>

#include "event/testing/model_run.h"

namespace xenopolis::event::model {
namespace {

enum class Operation : uint8_t {
  kConnect,
  kOffer,
  kBind,
  kDrain,
  kMask,
  kUnmask,
  kClose,
  kTakeOver,
  kBindVirq,
  kBindIpi,
  kRaiseVirq,
  kSend,
  kSetPriority,
  kStatus,
  kSucceed
};

constexpr Operation kOperations[] = {
    Operation::kConnect, Operation::kConnect,  Operation::kConnect,    Operation::kOffer,     Operation::kBind,
    Operation::kDrain,   Operation::kDrain,    Operation::kDrain,      Operation::kDrain,     Operation::kMask,
    Operation::kUnmask,  Operation::kUnmask,   Operation::kClose,      Operation::kTakeOver,  Operation::kTakeOver,
    Operation::kBindIpi, Operation::kBindVirq, Operation::kBindVirq,   Operation::kRaiseVirq, Operation::kRaiseVirq,
    Operation::kSend,    Operation::kSend,     Operation::kSend,       Operation::kSend,      Operation::kSetPriority,
    Operation::kStatus,  Operation::kSucceed,  Operation::kSetPriority};

Operation operation_of(const Step& step) {
  return kOperations[step.operation / 4u % std::size(kOperations)];
}

// A consumer's thread does not drain while it drains.
bool may_be_done_meanwhile(const Step& step) {
  return operation_of(step) != Operation::kDrain && operation_of(step) != Operation::kSucceed;
}

bool is_readable(int fd) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wanted, 1, 0) == 1;
}

}  // namespace

void ModelRun::create_dom0_and_consumers(Abi abi, bool many_ports) {
  constexpr Port kManyPorts = kEventWordsPerPage - 4;
  model_.expect(create_dom0(channels_, abi).has_value(), "Dom0 can be created");
  model_.create(kDom0, {.offered_abi = abi, .vcpus = machine::kDom0VcpuCount}, true);
  if (abi == Abi::kThreeLevel) model_.register_bitmaps(kDom0, true, {});
  for (VcpuId vcpu = 0; vcpu < machine::kDom0VcpuCount; ++vcpu) {
    if (abi == Abi::kFifo) model_.init_control(kDom0, vcpu, true, {});
    if (abi == Abi::kThreeLevel) model_.register_selector(kDom0, vcpu, true, {});
  }
  Domain& dom0 = model_.domain(kDom0);
  for (uint32_t page = 0; page < channels_of(kDom0).array_pages.load() && abi == Abi::kFifo; ++page) {
    model_.expand_array(kDom0, true, true, {});
  }
  dom0_pages_ = dom0.pages.size();
  if (many_ports) dom0.ballast = dom0.highest = kManyPorts;
  for (Port port = 1; port <= dom0.ballast; ++port) {
    model_.expect(channels_.alloc_unbound(kDom0, kDom0, kGuests + 1).value_or(0) == port, "ports are new at first");
  }
  for (VcpuId vcpu = 0; vcpu < kConsumers; ++vcpu) {
    consumers_.push_back(Consumer::attach(channels_, vcpu).value());
    model_.consumer_succeeded(vcpu);
  }
  used_pages_ = world_.machine.frames().used_pages();
}

void ModelRun::step_dom0(const Step& step) {
  const auto a = step.a, b = step.b, c = step.c;
  const DomId other = guest(a);
  const VcpuId vcpu = b % kConsumers;
  Consumer& consumer = consumers_[vcpu];
  // Dom0 looks after its ports: it does nothing to those that it does not have.
  const std::optional<Port> own = pick_open(kDom0, a);
  switch (operation_of(step)) {
    case Operation::kConnect:
      return dom0_connect(other, vcpu);
    case Operation::kOffer: {
      const auto offered = channels_.alloc_unbound(kDom0, DOMID_SELF, other);
      note("dom0 offers", other, offered.value_or(0));
      model_.alloc_unbound(kDom0, DOMID_SELF, other, offered);
      if (c % 2 == 0) model_.consumer_take_over(vcpu, *offered, consumer.take_over(*offered));
      if (c % 3 == 0) return;
      const auto bound = channels_.bind_interdomain(other, kDom0, *offered);
      return model_.bind_interdomain(other, 0, kDom0, *offered, bound);
    }
    case Operation::kBind: {
      const Port port = pick(other, c);
      const auto bound = consumer.bind_interdomain(other, port);
      note("dom0 binds", other, port, bound.value_or(0));
      return model_.consumer_bind(vcpu, other, port, bound);
    }
    case Operation::kDrain:
      // Handlers do things, too.
      return drain(vcpu, c % 4 == 0 ? 256 : c % 4u,
                   Step{static_cast<uint8_t>(c * 11), static_cast<uint8_t>(b / 2), a, static_cast<uint8_t>(c / 4)});
    case Operation::kMask:
      if (!own) return;
      note("dom0 masks", *own);
      consumer.mask(*own);
      return model_.set_mask(kDom0, *own, true);
    case Operation::kUnmask:
      if (!own) return;
      note("dom0 unmasks", *own);
      model_.expect(consumer.unmask(*own).has_value(), "a port can be unmasked");
      return model_.consumer_unmask(*own);
    case Operation::kClose:
      if (!own) return;
      note("dom0 closes", *own);
      return model_.consumer_close(*own, consumer.close(*own));
    case Operation::kTakeOver:
      if (!own) return;
      note("dom0 takes over", vcpu, *own);
      return model_.consumer_take_over(vcpu, *own, consumer.take_over(*own));
    case Operation::kBindVirq: {
      constexpr uint32_t kVirqs[] = {VIRQ_TIMER, VIRQ_DOM_EXC, VIRQ_CONSOLE, VIRQ_ARGO};
      const uint32_t virq = kVirqs[c % std::size(kVirqs)];
      const auto bound = consumer.bind_virq(virq);
      note("dom0 binds virq", virq, vcpu, bound.value_or(0));
      return model_.consumer_bind_virq(vcpu, virq, bound);
    }
    case Operation::kBindIpi: {
      const auto bound = channels_.bind_ipi(kDom0, vcpu);
      note("dom0 binds ipi", vcpu, bound.value_or(0));
      model_.bind_ipi(kDom0, vcpu, bound);
      return bound ? model_.consumer_take_over(vcpu, *bound, consumer.take_over(*bound)) : void();
    }
    case Operation::kRaiseVirq:
      note("global virqs, and a timer", vcpu);
      for (const uint32_t virq : {VIRQ_DOM_EXC, VIRQ_CONSOLE}) {
        channels_.raise_global_virq(virq);
        model_.raise_virq(kDom0, 0, virq);
      }
      channels_.raise_virq(kDom0, vcpu, VIRQ_TIMER);
      return model_.raise_virq(kDom0, vcpu, VIRQ_TIMER);
    case Operation::kSend: {
      const Port port = own.value_or(0);
      note("dom0 sends", port);
      return model_.send(kDom0, port, consumer.send(port));
    }
    case Operation::kSetPriority: {
      const Port port = own.value_or(0);
      note("dom0 sets priority", port, c % 18);
      return model_.set_priority(kDom0, port, c % 18u, channels_.set_priority(kDom0, port, c % 18u));
    }
    case Operation::kStatus: {
      const Port port = pick(kDom0, c);
      return model_.status(b % 2 == 0 ? kDom0 : other, kDom0, port,
                           channels_.status(b % 2 == 0 ? kDom0 : other, kDom0, port));
    }
    case Operation::kSucceed:
      note("dom0's consumer is succeeded", vcpu);
      consumer = Consumer::attach(channels_, vcpu).value();
      return model_.consumer_succeeded(vcpu);
  }
}

void ModelRun::drain(VcpuId vcpu, uint32_t budget, std::optional<Step> meanwhile) {
  Consumer& consumer = consumers_[vcpu];
  model_.expect(!model_.consumer_has_work(vcpu) || is_readable(consumer.fd()), "Dom0 is woken for every event");
  note("drain", vcpu, budget);
  uint32_t served = 0;
  const auto handle = [&](Port port) {
    note("  serves", port);
    ++served;
    model_.consumer_serves(vcpu, port);
    if (!meanwhile) return;
    const Step step = *std::exchange(meanwhile, std::nullopt);
    if (step.c % 2 == 0) return send_from(guest(step.a), step.b);
    if (!may_be_done_meanwhile(step)) return;
    step_dom0(step);
  };
  model_.expect(consumer.drain(handle, budget) == served, "a consumer counts what it serves");
  model_.consumer_drained(vcpu, budget, served);
}

void ModelRun::dom0_connect(DomId other, VcpuId vcpu) {
  const auto offered = channels_.alloc_unbound(kDom0, other, kDom0);
  model_.alloc_unbound(kDom0, other, kDom0, offered);
  if (!offered) return;
  const auto bound = consumers_[vcpu].bind_interdomain(other, *offered);
  note("dom0 connects", vcpu, bound.value_or(0), other, *offered);
  model_.consumer_bind(vcpu, other, *offered, bound);
}

void ModelRun::unmask_all_of_dom0() {
  Domain& dom0 = model_.domain(kDom0);
  for (const auto& [port, channel] : dom0.open) {
    Consumer& consumer = consumers_[channel.vcpu % kConsumers];
    consumer.mask(port);
    model_.set_mask(kDom0, port, true);
    model_.expect(consumer.unmask(port).has_value(), "a port can be unmasked");
    model_.consumer_unmask(port);
  }
}

}  // namespace xenopolis::event::model
