// event_channel_op as a guest meets it: what is copied when, and how domains are named. What each operation answers to
// which mistake: src/event/errors_test.cc.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>

#include "hypercall/test_domain.h"

namespace xenopolis::hypercall {
namespace {

using domain::AfterHypercall;
using Structure = std::array<uint8_t, 256>;

class EventChannelOpTest : public testing::Test {
 protected:
  int64_t call(uint64_t command, uint64_t address) {
    return domain_.call(__HYPERVISOR_event_channel_op, command, address);
  }
  template <class T>
  int64_t operate(uint64_t command, T operation) {
    return call(command, domain_.put(operation));
  }
  template <class T>
  T answered(uint64_t command, T operation) {
    const uint64_t address = domain_.put(operation);
    EXPECT_EQ(call(command, address), 0);
    return domain_.get<T>(address);
  }
  uint32_t open_ports() { return domain_.events.counters(TestDomain::kDomId).open_ports; }
  Port new_ipi() { return answered(EVTCHNOP_bind_ipi, evtchn_bind_ipi{}).port; }

  TestDomain domain_;
};

evtchn_status ask(domid_t domid, Port port) {
  return {.dom = domid, .port = port, .status = 99, .vcpu = 99, .u = {}};
}

constexpr uint32_t kOperations[] = {EVTCHNOP_bind_interdomain,
                                    EVTCHNOP_bind_virq,
                                    EVTCHNOP_bind_pirq,
                                    EVTCHNOP_close,
                                    EVTCHNOP_send,
                                    EVTCHNOP_status,
                                    EVTCHNOP_alloc_unbound,
                                    EVTCHNOP_bind_ipi,
                                    EVTCHNOP_bind_vcpu,
                                    EVTCHNOP_unmask,
                                    EVTCHNOP_reset,
                                    EVTCHNOP_init_control,
                                    EVTCHNOP_expand_array,
                                    EVTCHNOP_set_priority,
                                    EVTCHNOP_register_extended,
                                    EVTCHNOP_query_extended_abis};

TEST_F(EventChannelOpTest, StructureThatCannotBeReadIsEFAULTBeforeAllElse) {
  const Port port = new_ipi();
  for (const uint32_t command : kOperations) {
    EXPECT_EQ(call(command, kNowhere), -EFAULT) << command;
    // Its last byte is not there.
    EXPECT_EQ(call(command, RamMemory::kBase + TestDomain::kRamPages * kPageSize - 1), -EFAULT) << command;
  }
  EXPECT_EQ(open_ports(), 1u);
  EXPECT_EQ(operate(EVTCHNOP_close, evtchn_close{port}), 0);
}

TEST_F(EventChannelOpTest, UnknownOperationIsENOSYSWhateverItsStructure) {
  for (const uint64_t command : {uint64_t{15}, uint64_t{0x4242}, ~uint64_t{0}}) {
    EXPECT_EQ(call(command, kNowhere), -ENOSYS) << command;
  }
}

TEST_F(EventChannelOpTest, NothingIsCopiedOutOfAnOperationThatFails) {
  struct Row {
    uint32_t command;
    int answer;
    std::function<void(Structure&)> fill;
  };
  const auto with = [](auto operation) {
    return [operation](Structure& structure) { std::memcpy(structure.data(), &operation, sizeof operation); };
  };
  const Row rows[] = {
      {EVTCHNOP_alloc_unbound, -ESRCH, with(evtchn_alloc_unbound{.dom = 99, .remote_dom = 0, .port = 0x5a5a5a5a})},
      {EVTCHNOP_bind_interdomain, -EINVAL,
       with(evtchn_bind_interdomain{.remote_dom = 0, .remote_port = 77, .local_port = 0x5a5a5a5a})},
      {EVTCHNOP_bind_virq, -ENOENT, with(evtchn_bind_virq{.virq = VIRQ_TIMER, .vcpu = 9, .port = 0x5a5a5a5a})},
      {EVTCHNOP_bind_ipi, -ENOENT, with(evtchn_bind_ipi{.vcpu = 9, .port = 0x5a5a5a5a})},
      {EVTCHNOP_bind_pirq, -EPERM, with(evtchn_bind_pirq{.pirq = 1, .flags = 0, .port = 0x5a5a5a5a})},
      {EVTCHNOP_status, -EINVAL,
       with(evtchn_status{.dom = DOMID_SELF, .port = 5000, .status = 0x5a, .vcpu = 0x5a, .u = {}})},
      {EVTCHNOP_init_control, -EINVAL,
       with(evtchn_init_control{.control_gfn = 1, .offset = 3, .vcpu = 0, .link_bits = 0x5a, ._pad = {}})},
  };
  for (const Row& row : rows) {
    Structure before;
    before.fill(0x5a);
    row.fill(before);
    const uint64_t address = domain_.put(before);
    EXPECT_EQ(call(row.command, address), row.answer) << row.command;
    EXPECT_EQ(domain_.get<Structure>(address), before) << row.command;
  }
}

TEST_F(EventChannelOpTest, PortThatTheGuestCouldNotBeToldOfStaysOpen) {
  const uint64_t address = domain_.put(evtchn_bind_ipi{});
  domain_.memory.read_only = true;
  EXPECT_EQ(call(EVTCHNOP_bind_ipi, address), -EFAULT);
  domain_.memory.read_only = false;
  EXPECT_EQ(open_ports(), 1u) << "as in Xen, which finds cleaning up too messy";
}

TEST_F(EventChannelOpTest, OperationsWithoutAnswerNeedNoWritableMemory) {
  const Port port = new_ipi();
  for (const uint32_t command : {EVTCHNOP_send, EVTCHNOP_unmask, EVTCHNOP_close}) {
    const uint64_t address = domain_.put(port);
    domain_.memory.read_only = true;
    EXPECT_EQ(call(command, address), 0) << command;
    domain_.memory.read_only = false;
  }
}

TEST_F(EventChannelOpTest, DomainsAreNamedByNumberOrAsSelf) {
  for (const domid_t self : {domid_t{DOMID_SELF}, domid_t{TestDomain::kDomId}}) {
    const auto offered =
        answered(EVTCHNOP_alloc_unbound, evtchn_alloc_unbound{.dom = self, .remote_dom = self, .port = 0});
    const auto bound = answered(EVTCHNOP_bind_interdomain, evtchn_bind_interdomain{self, offered.port, 0});
    const auto status = answered(EVTCHNOP_status, ask(self, bound.local_port));
    EXPECT_EQ(status.u.interdomain.dom, TestDomain::kDomId) << "never DOMID_SELF";
    EXPECT_EQ(status.u.interdomain.port, offered.port);
  }
  // Anybody may be waited for, also who will never exist.
  for (const domid_t remote : {domid_t{99}, domid_t{0x7ff1}, domid_t{0xfffe}}) {
    const auto offered =
        answered(EVTCHNOP_alloc_unbound, evtchn_alloc_unbound{.dom = DOMID_SELF, .remote_dom = remote, .port = 0});
    const auto status = answered(EVTCHNOP_status, ask(DOMID_SELF, offered.port));
    EXPECT_EQ(status.u.unbound.dom, remote);
  }
  // The special domains of Xen have no event channels.
  for (const domid_t special : {domid_t{DOMID_IO}, domid_t{DOMID_XEN}, domid_t{DOMID_COW}, domid_t{DOMID_INVALID}}) {
    EXPECT_EQ(operate(EVTCHNOP_alloc_unbound, evtchn_alloc_unbound{.dom = special, .remote_dom = 0, .port = 0}), -ESRCH)
        << special;
    EXPECT_EQ(operate(EVTCHNOP_bind_interdomain, evtchn_bind_interdomain{special, 1, 0}), -ESRCH) << special;
    EXPECT_EQ(operate(EVTCHNOP_status, ask(special, 1)), -ESRCH) << special;
    EXPECT_EQ(operate(EVTCHNOP_reset, evtchn_reset{special}), -ESRCH) << special;
  }
}

TEST_F(EventChannelOpTest, StatusTellsWhatEachKindOfPortIs) {
  const auto virq = answered(EVTCHNOP_bind_virq, evtchn_bind_virq{.virq = VIRQ_DEBUG, .vcpu = 0, .port = 0});
  const auto status_of = [&](Port port) { return answered(EVTCHNOP_status, ask(DOMID_SELF, port)); };
  EXPECT_EQ(status_of(virq.port).status, uint32_t{EVTCHNSTAT_virq});
  EXPECT_EQ(status_of(virq.port).u.virq, uint32_t{VIRQ_DEBUG});
  EXPECT_EQ(status_of(new_ipi()).status, uint32_t{EVTCHNSTAT_ipi});
  EXPECT_EQ(status_of(virq.port).vcpu, 0u);
  EXPECT_EQ(status_of(0).status, uint32_t{EVTCHNSTAT_closed}) << "lsevtchn begins with port 0 and ends at an error";
  EXPECT_EQ(status_of(63).status, uint32_t{EVTCHNSTAT_closed});
}

TEST_F(EventChannelOpTest, LinkBitsAreToldWhenTheControlBlockIsAccepted) {
  const auto answer =
      answered(EVTCHNOP_init_control,
               evtchn_init_control{.control_gfn = 9, .offset = 128, .vcpu = 0, .link_bits = 0, ._pad = {}});
  EXPECT_EQ(answer.link_bits, EVTCHN_FIFO_LINK_BITS);
}

// A domain that speaks FIFO. One call of a reset looks at 1,024 ports.
class LongResetTest : public EventChannelOpTest {
 protected:
  void open_fifo_ports(uint32_t count) {
    answered(EVTCHNOP_init_control,
             evtchn_init_control{.control_gfn = 9, .offset = 0, .vcpu = 0, .link_bits = 0, ._pad = {}});
    for (uint32_t page = 0; page <= count / (kPageSize / sizeof(event_word_t)); ++page) {
      ASSERT_EQ(operate(EVTCHNOP_expand_array, evtchn_expand_array{10 + page}), 0);
    }
    for (Port port = 1; port <= count; ++port) ASSERT_EQ(new_ipi(), port);
  }
  event::Abi abi() { return domain_.events.abi(TestDomain::kDomId); }
  AfterHypercall after() const { return domain_.vcpu.after; }
};

TEST_F(LongResetTest, GoesOnWhenItIsRepeatedUntilAllPortsAreClosed) {
  open_fifo_ports(2500);
  const uint64_t self = domain_.put(evtchn_reset{DOMID_SELF});
  domain::Registers& registers = domain_.vcpu.registers;
  registers.rax = __HYPERVISOR_event_channel_op;
  registers.rdi = EVTCHNOP_reset;
  registers.rsi = self;
  const domain::Registers before = registers;
  for (const uint32_t still_open : {2500u - 1024, 2500u - 2 * 1024}) {
    call(EVTCHNOP_reset, self);
    EXPECT_EQ(after(), AfterHypercall::kAgain);
    EXPECT_EQ(std::memcmp(&registers, &before, sizeof before), 0) << "the same call is made from them again";
    EXPECT_EQ(open_ports(), still_open);
    EXPECT_EQ(abi(), event::Abi::kFifo);
  }
  EXPECT_EQ(call(EVTCHNOP_reset, self), 0);
  EXPECT_EQ(after(), AfterHypercall::kContinue);
  EXPECT_EQ(open_ports(), 0u);
  EXPECT_EQ(abi(), event::Abi::kTwoLevel);
  EXPECT_EQ(new_ipi(), 1u);
}

TEST_F(LongResetTest, FewPortsAreClosedAtOnce) {
  open_fifo_ports(1000);
  EXPECT_EQ(operate(EVTCHNOP_reset, evtchn_reset{DOMID_SELF}), 0);
  EXPECT_EQ(after(), AfterHypercall::kContinue);
  EXPECT_EQ(open_ports(), 0u);
}

// Between entries nobody else has a turn: the guest is told to call again, and what is done stays done.
TEST_F(LongResetTest, InAMulticallItIsE2BIGUntilItIsDone) {
  open_fifo_ports(2500);
  const multicall_entry_t reset{.op = __HYPERVISOR_event_channel_op,
                                .result = 0xbad,
                                .args = {EVTCHNOP_reset, domain_.put(evtchn_reset{DOMID_SELF})}};
  const multicall_entry_t version{.op = __HYPERVISOR_xen_version, .result = 0xbad, .args = {XENVER_version}};
  using List = std::array<multicall_entry_t, 2>;
  const auto run = [&](const List& list) {
    const uint64_t address = domain_.put(list);
    EXPECT_EQ(domain_.call(__HYPERVISOR_multicall, address, list.size()), 0);
    EXPECT_EQ(after(), AfterHypercall::kContinue);
    return domain_.get<List>(address);
  };
  List answers = run({reset, version});
  EXPECT_EQ(static_cast<int64_t>(answers[0].result), -E2BIG);
  EXPECT_GT(static_cast<int64_t>(answers[1].result), 0) << "the rest of the list is executed";
  EXPECT_EQ(open_ports(), 2500u - 1024);
  EXPECT_EQ(abi(), event::Abi::kFifo);
  answers = run({reset, reset});
  EXPECT_EQ(static_cast<int64_t>(answers[0].result), -E2BIG);
  EXPECT_EQ(answers[1].result, 0u);
  EXPECT_EQ(open_ports(), 0u);
  EXPECT_EQ(abi(), event::Abi::kTwoLevel);
}

TEST_F(LongResetTest, AListOfResetsDoesNotMoreThanItsShareOfWork) {
  open_fifo_ports(12'000);
  std::array<multicall_entry_t, 12> list;
  list.fill({.op = __HYPERVISOR_event_channel_op,
             .result = 0xbad,
             .args = {EVTCHNOP_reset, domain_.put(evtchn_reset{DOMID_SELF})}});
  EXPECT_EQ(domain_.call(__HYPERVISOR_multicall, domain_.put(list), list.size()), 0);
  EXPECT_EQ(open_ports(), 12'000u - kWorkLimit);
}

}  // namespace
}  // namespace xenopolis::hypercall
