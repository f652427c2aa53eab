// What holds for every event channel ABI.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

template <class T>
testing::AssertionResult failed_with(const Result<T, XenErrno>& result, XenErrno reason) {
  if (result) return testing::AssertionFailure() << "it succeeded";
  if (result.error() != reason)
    return testing::AssertionFailure() << "it failed with " << static_cast<int>(result.error());
  return testing::AssertionSuccess();
}

class Contract : public testing::TestWithParam<Abi> {
 protected:
  Contract() : channels_(world_.channels), one_(channels_, 1), two_(channels_, 2) {
    world_.add_guest(1, GetParam());
    world_.add_guest(2, GetParam(), {.vcpus = 2});
  }

  // Connected, with nothing pending anywhere.
  std::pair<Port, Port> quiet_channel() {
    const auto ports = world_.connect(1, 2);
    one_.take();
    return ports;
  }

  World world_;
  EventChannels& channels_;
  GuestSide one_, two_;
};

TEST_P(Contract, AnEventReachesTheOtherEnd) {
  const auto [ours, theirs] = quiet_channel();
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_TRUE(two_.upcall_pending());
  EXPECT_THAT(two_.take(), ElementsAre(theirs));
  EXPECT_FALSE(one_.upcall_pending());
  ASSERT_TRUE(channels_.send(2, theirs));
  EXPECT_THAT(one_.take(), ElementsAre(ours));
}

TEST_P(Contract, ManyEventsBeforeTheGuestLooksAreOne) {
  const auto [ours, theirs] = quiet_channel();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_THAT(two_.take(), ElementsAre(theirs));
  EXPECT_THAT(two_.take(), IsEmpty());
  EXPECT_EQ(channels_.counters(1).events_sent, 5u);
  EXPECT_EQ(channels_.counters(2).events_delivered, 1u);
}

TEST_P(Contract, BindingLeavesAnEventAtTheBinder) {
  const auto [ours, theirs] = world_.connect(1, 2);
  EXPECT_THAT(one_.take(), ElementsAre(ours));
  EXPECT_THAT(two_.take(), IsEmpty());
}

TEST_P(Contract, MaskedEventWaitsForUnmask) {
  const auto [ours, theirs] = quiet_channel();
  two_.set_mask(theirs, true);
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_FALSE(two_.upcall_pending());
  EXPECT_TRUE(channels_.status(2, 2, theirs)->pending);
  EXPECT_TRUE(channels_.status(2, 2, theirs)->masked);
  ASSERT_TRUE(channels_.unmask(2, theirs));
  EXPECT_TRUE(two_.upcall_pending());
  EXPECT_THAT(two_.take(), ElementsAre(theirs));
}

TEST_P(Contract, UnmaskWithoutEventRaisesNothing) {
  const auto [ours, theirs] = quiet_channel();
  two_.set_mask(theirs, true);
  ASSERT_TRUE(channels_.unmask(2, theirs));
  EXPECT_FALSE(two_.upcall_pending());
  EXPECT_THAT(two_.take(), IsEmpty());
}

TEST_P(Contract, StatusShowsBothEnds) {
  const Port offered = channels_.alloc_unbound(2, DOMID_SELF, 1).value();
  EXPECT_EQ(channels_.status(2, DOMID_SELF, offered)->status, uint32_t{EVTCHNSTAT_unbound});
  EXPECT_EQ(channels_.status(2, 2, offered)->remote_domid, 1);
  const Port ours = channels_.bind_interdomain(1, 2, offered).value();
  const PortStatus there = channels_.status(2, 2, offered).value();
  EXPECT_EQ(there.status, uint32_t{EVTCHNSTAT_interdomain});
  EXPECT_EQ(there.remote_domid, 1);
  EXPECT_EQ(there.remote_port, ours);
  EXPECT_EQ(channels_.status(1, 1, ours)->remote_port, offered);
}

TEST_P(Contract, ClosingMakesTheOtherEndUnboundAndBindableAgain) {
  const auto [ours, theirs] = quiet_channel();
  ASSERT_TRUE(channels_.close(1, ours));
  EXPECT_EQ(channels_.status(2, 2, theirs)->status, uint32_t{EVTCHNSTAT_unbound});
  EXPECT_EQ(channels_.status(2, 2, theirs)->remote_domid, 1);
  EXPECT_TRUE(channels_.send(2, theirs)) << "to nobody, silently";
  EXPECT_TRUE(failed_with(channels_.send(1, ours), XenErrno::kInval));
  EXPECT_TRUE(failed_with(channels_.close(1, ours), XenErrno::kInval));
  const Port again = channels_.bind_interdomain(1, 2, theirs).value();
  one_.take();
  ASSERT_TRUE(channels_.send(2, theirs));
  EXPECT_THAT(one_.take(), ElementsAre(again));
}

TEST_P(Contract, OnlyTheNamedDomainMayBind) {
  world_.add_guest(3, GetParam());
  const Port offered = channels_.alloc_unbound(2, 2, 1).value();
  EXPECT_TRUE(failed_with(channels_.bind_interdomain(3, 2, offered), XenErrno::kInval));
  EXPECT_TRUE(failed_with(channels_.bind_interdomain(1, 2, offered + 1), XenErrno::kInval));
  EXPECT_TRUE(failed_with(channels_.bind_interdomain(1, 2, 0), XenErrno::kInval));
  EXPECT_TRUE(failed_with(channels_.bind_interdomain(1, 77, offered), XenErrno::kSrch));
  EXPECT_TRUE(channels_.bind_interdomain(1, 2, offered));
  EXPECT_TRUE(failed_with(channels_.bind_interdomain(1, 2, offered), XenErrno::kInval)) << "bound already";
  EXPECT_EQ(channels_.counters(3).open_ports, 0u);
}

TEST_P(Contract, OnlyDom0MayActOnAnotherDomain) {
  EXPECT_TRUE(failed_with(channels_.alloc_unbound(1, 2, 1), XenErrno::kPerm));
  const Port port = channels_.alloc_unbound(kDom0, 2, kDom0).value();
  EXPECT_TRUE(failed_with(channels_.status(1, 2, port), XenErrno::kPerm));
  EXPECT_EQ(channels_.status(kDom0, 2, port)->status, uint32_t{EVTCHNSTAT_unbound});
  EXPECT_TRUE(failed_with(channels_.reset(1, 2), XenErrno::kPerm));
  EXPECT_TRUE(channels_.reset(kDom0, 2));
  EXPECT_EQ(channels_.counters(2).open_ports, 0u);
}

TEST_P(Contract, ADomainMayTalkToItself) {
  const auto [a, b] = world_.connect(1, 1);
  one_.take();
  ASSERT_TRUE(channels_.send(1, a));
  EXPECT_THAT(one_.take(), ElementsAre(b));
  ASSERT_TRUE(channels_.close(1, a));
  EXPECT_EQ(channels_.status(1, 1, b)->status, uint32_t{EVTCHNSTAT_unbound});
}

TEST_P(Contract, PortNumbersFromAGuestAreChecked) {
  for (const Port port : {0u, 5u, 4095u, 4096u, 131071u, 131072u, 262143u, 262144u, 0x7fffffffu, 0xffffffffu}) {
    EXPECT_TRUE(failed_with(channels_.send(1, port), XenErrno::kInval)) << port;
    EXPECT_TRUE(failed_with(channels_.close(1, port), XenErrno::kInval)) << port;
    // Of the first 64, Xen knows that they are closed.
    EXPECT_EQ(channels_.unmask(1, port).has_value(), port < 64) << port;
    EXPECT_EQ(channels_.status(1, 1, port).has_value(), port < 64) << port;
    EXPECT_TRUE(failed_with(channels_.bind_vcpu(1, port, 0), XenErrno::kInval)) << port;
    EXPECT_TRUE(failed_with(channels_.bind_interdomain(1, 2, port), XenErrno::kInval)) << port;
    EXPECT_TRUE(failed_with(channels_.begin_poll(1, 0, &port, 1), XenErrno::kInval)) << port;
  }
  for (const DomId domid : {DomId{77}, DomId{32751}, DomId{0x7ff1}, DomId{0xffff}}) {
    EXPECT_TRUE(failed_with(channels_.bind_interdomain(1, domid, 1), XenErrno::kSrch)) << domid;
    EXPECT_TRUE(failed_with(channels_.status(kDom0, domid, 1), XenErrno::kSrch)) << domid;
    EXPECT_TRUE(failed_with(channels_.alloc_unbound(kDom0, domid, 1), XenErrno::kSrch)) << domid;
    EXPECT_FALSE(channels_.domain_exists(domid));
  }
  EXPECT_TRUE(channels_.alloc_unbound(1, 1, 0xffff)) << "nobody will ever bind it";
}

TEST_P(Contract, VirtualInterruptsAreBoundOncePerVcpu) {
  const Port timer = channels_.bind_virq(2, VIRQ_TIMER, 1).value();
  EXPECT_TRUE(failed_with(channels_.bind_virq(2, VIRQ_TIMER, 1), XenErrno::kExist));
  EXPECT_TRUE(channels_.bind_virq(2, VIRQ_TIMER, 0));
  EXPECT_TRUE(failed_with(channels_.bind_virq(2, VIRQ_TIMER, 2), XenErrno::kNoEnt));
  EXPECT_TRUE(failed_with(channels_.bind_virq(2, NR_VIRQS, 0), XenErrno::kInval));
  EXPECT_TRUE(failed_with(channels_.bind_virq(2, VIRQ_CONSOLE, 1), XenErrno::kInval));
  EXPECT_TRUE(failed_with(channels_.bind_virq(2, VIRQ_CONSOLE, 0), XenErrno::kBusy));
  EXPECT_EQ(channels_.status(2, 2, timer)->virq, uint32_t{VIRQ_TIMER});
  EXPECT_TRUE(failed_with(channels_.send(2, timer), XenErrno::kInval));
  EXPECT_TRUE(failed_with(channels_.bind_vcpu(2, timer, 0), XenErrno::kInval));

  channels_.raise_virq(2, 1, VIRQ_TIMER);
  EXPECT_FALSE(two_.upcall_pending());
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), ElementsAre(timer));
  ASSERT_TRUE(channels_.close(2, timer));
  channels_.raise_virq(2, 1, VIRQ_TIMER);
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), IsEmpty());
  EXPECT_TRUE(channels_.bind_virq(2, VIRQ_TIMER, 1));
}

TEST_P(Contract, IpiReachesItsVcpu) {
  const Port ipi = channels_.bind_ipi(2, 1).value();
  EXPECT_TRUE(failed_with(channels_.bind_ipi(2, 2), XenErrno::kNoEnt));
  EXPECT_TRUE(failed_with(channels_.bind_vcpu(2, ipi, 0), XenErrno::kInval));
  ASSERT_TRUE(channels_.send(2, ipi));
  EXPECT_FALSE(two_.upcall_pending());
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), ElementsAre(ipi));
}

TEST_P(Contract, EventsFollowThePortToAnotherVcpu) {
  const auto [ours, theirs] = quiet_channel();
  GuestSide second(channels_, 2, 1);
  EXPECT_TRUE(failed_with(channels_.bind_vcpu(2, theirs, 2), XenErrno::kNoEnt));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(channels_.bind_vcpu(2, theirs, 1));
    ASSERT_TRUE(channels_.send(1, ours));
    EXPECT_FALSE(two_.upcall_pending());
    EXPECT_THAT(second.take(), ElementsAre(theirs));
    ASSERT_TRUE(channels_.bind_vcpu(2, theirs, 0));
    ASSERT_TRUE(channels_.send(1, ours));
    EXPECT_FALSE(second.upcall_pending());
    EXPECT_THAT(two_.take(), ElementsAre(theirs));
  }
}

TEST_P(Contract, ClosedPortsAreUsedAgainAndStartQuiet) {
  const auto [ours, theirs] = quiet_channel();
  two_.set_mask(theirs, true);
  ASSERT_TRUE(channels_.send(1, ours));
  ASSERT_TRUE(channels_.close(2, theirs));
  two_.set_mask(theirs, false);
  const Port again = channels_.alloc_unbound(2, 2, 1).value();
  EXPECT_EQ(again, theirs);
  EXPECT_FALSE(channels_.status(2, 2, again)->pending);
  ASSERT_TRUE(channels_.unmask(2, again));
  EXPECT_THAT(two_.take(), IsEmpty());
}

TEST_P(Contract, ResetClosesAllAndEndsInTwoLevel) {
  std::vector<Port> remote;
  for (int i = 0; i < 300; ++i) remote.push_back(world_.connect(1, 2).first);
  ASSERT_TRUE(channels_.bind_virq(2, VIRQ_TIMER, 0));
  ASSERT_TRUE(channels_.reset(2, DOMID_SELF));
  EXPECT_EQ(channels_.counters(2).open_ports, 0u);
  EXPECT_EQ(channels_.abi(2), Abi::kTwoLevel);
  for (const Port port : remote) ASSERT_EQ(channels_.status(1, 1, port)->status, uint32_t{EVTCHNSTAT_unbound});
  EXPECT_EQ(channels_.alloc_unbound(2, 2, 1).value(), 1u);
  EXPECT_TRUE(channels_.bind_virq(2, VIRQ_TIMER, 0));
}

TEST_P(Contract, ResetInPiecesGoesOnWhereItStoppedAndForgetsNoPort) {
  std::vector<Port> remote;
  for (int i = 0; i < 250; ++i) remote.push_back(world_.connect(1, 2).first);
  EXPECT_FALSE(channels_.reset_some(2, 2, 100).value());
  EXPECT_EQ(channels_.counters(2).open_ports, 150u);
  // Between the pieces others may act: behind the point that has been reached, and before it.
  const Port behind = channels_.alloc_unbound(kDom0, 2, kDom0).value();
  EXPECT_LE(behind, 100u);
  ASSERT_TRUE(channels_.close(1, remote[200]));
  EXPECT_FALSE(channels_.reset_some(2, 2, 100).value());
  EXPECT_TRUE(channels_.reset_some(2, 2, 100).value());
  EXPECT_EQ(channels_.counters(2).open_ports, 0u);
  EXPECT_EQ(channels_.abi(2), Abi::kTwoLevel);
  for (size_t i = 0; i < remote.size(); ++i) {
    if (i == 200) continue;
    ASSERT_EQ(channels_.status(1, 1, remote[i])->status, uint32_t{EVTCHNSTAT_unbound});
  }
  EXPECT_EQ(channels_.alloc_unbound(2, 2, 1).value(), 1u);
  EXPECT_TRUE(channels_.reset_some(2, 2, 100).value()) << "a new one begins at the beginning";
  EXPECT_EQ(channels_.counters(2).open_ports, 0u);
}

TEST_P(Contract, DestroyedDomainLeavesUnboundEndsAndItsNumberCanBeUsedAgain) {
  const uint64_t pages_before = world_.machine.frames().used_pages();
  std::vector<Port> remote;
  for (int i = 0; i < 1000; ++i) remote.push_back(world_.connect(1, 2).first);
  channels_.destroy_domain(2);
  EXPECT_FALSE(channels_.domain_exists(2));
  EXPECT_EQ(channels_.info_of(2, 0), nullptr);
  for (const Port port : remote) {
    ASSERT_EQ(channels_.status(1, 1, port)->status, uint32_t{EVTCHNSTAT_unbound});
    ASSERT_TRUE(channels_.send(1, port));
  }
  channels_.raise_virq(2, 0, VIRQ_TIMER);
  EXPECT_TRUE(failed_with(channels_.alloc_unbound(kDom0, 2, 1), XenErrno::kSrch));
  world_.add_guest(2, GetParam());
  EXPECT_EQ(channels_.counters(2).open_ports, 0u);
  EXPECT_EQ(channels_.alloc_unbound(2, 2, 1).value(), 1u);
  channels_.destroy_domain(1);
  EXPECT_EQ(world_.machine.frames().used_pages(), pages_before);
}

TEST_P(Contract, PortsEndWhereTheLimitSays) {
  world_.add_guest(3, GetParam(), {.max_port = 10});
  EXPECT_EQ(channels_.port_limit(3), 11u);
  for (Port port = 1; port <= 10; ++port) EXPECT_EQ(channels_.alloc_unbound(3, 3, 1).value(), port);
  EXPECT_TRUE(failed_with(channels_.alloc_unbound(3, 3, 1), XenErrno::kNoSpc));
  ASSERT_TRUE(channels_.close(3, 4));
  EXPECT_EQ(channels_.alloc_unbound(3, 3, 1).value(), 4u);
}

TEST_P(Contract, AllPortsOfTheAbiCanBeOpenAtOnce) {
  const uint32_t limit = GetParam() == Abi::kFifo ? 131072 : GetParam() == Abi::kThreeLevel ? 262144 : 4096;
  EXPECT_EQ(channels_.port_limit(1), limit);
  for (Port port = 1; port < limit; ++port) ASSERT_EQ(channels_.alloc_unbound(1, 1, 2).value(), port);
  EXPECT_TRUE(failed_with(channels_.alloc_unbound(1, 1, 2), XenErrno::kNoSpc));
  EXPECT_EQ(channels_.counters(1).open_ports, limit - 1);
}

TEST_P(Contract, VcpuInfoMovesWithItsEvents) {
  const auto [ours, theirs] = quiet_channel();
  ASSERT_TRUE(channels_.send(1, ours));
  auto* place = reinterpret_cast<vcpu_info*>(machine::memory_of(2).ram_page(100) + 64);
  ASSERT_TRUE(channels_.register_vcpu_info(2, 0, place));
  EXPECT_EQ(channels_.info_of(2, 0), place);
  EXPECT_TRUE(two_.upcall_pending());
  EXPECT_THAT(two_.take(), ElementsAre(theirs));
  EXPECT_TRUE(failed_with(channels_.register_vcpu_info(2, 0, place), XenErrno::kInval));
}

TEST_P(Contract, DoorbellIsRungOncePerUpcall) {
  const auto [ours, theirs] = quiet_channel();
  const auto [ours2, theirs2] = world_.connect(1, 2);
  constexpr machine::DoorbellId kBell = 5;
  machine::Doorbells& bells = world_.machine.doorbells();
  channels_.set_doorbell(2, 0, kBell, 9);
  EXPECT_EQ(bells.take(kBell), 0u);
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_EQ(bells.take(kBell), 1ull << 9);
  ASSERT_TRUE(channels_.send(1, ours2));
  EXPECT_EQ(bells.take(kBell), 0u) << "the upcall is pending: the vCPU has been rung";
  two_.take();
  ASSERT_TRUE(channels_.send(1, ours2));
  EXPECT_EQ(bells.take(kBell), 1ull << 9);
}

TEST_P(Contract, DoorbellSetLateRingsForWhatWaits) {
  const auto [ours, theirs] = quiet_channel();
  ASSERT_TRUE(channels_.send(1, ours));
  channels_.set_doorbell(2, 0, 6, 3);
  EXPECT_EQ(world_.machine.doorbells().take(6), 1ull << 3);
  channels_.clear_doorbell(2, 0);
  two_.take();
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_EQ(world_.machine.doorbells().take(6), 0u);
}

TEST_P(Contract, PollSeesWhatIsPendingEvenMasked) {
  const auto [ours, theirs] = quiet_channel();
  two_.set_mask(theirs, true);
  EXPECT_FALSE(channels_.begin_poll(2, 0, &theirs, 1).value());
  channels_.end_poll(2, 0);
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_TRUE(channels_.begin_poll(2, 0, &theirs, 1).value());
}

TEST_P(Contract, PollerIsRungByAMaskedPortUntilItEnds) {
  const auto [ours, theirs] = quiet_channel();
  const auto [other, others_end] = world_.connect(1, 2);
  machine::Doorbells& bells = world_.machine.doorbells();
  channels_.set_doorbell(2, 0, 7, 0);
  two_.set_mask(theirs, true);
  two_.set_mask(others_end, true);
  ASSERT_FALSE(channels_.begin_poll(2, 0, &theirs, 1).value());
  ASSERT_TRUE(channels_.send(1, other));
  EXPECT_EQ(bells.take(7), 0u) << "another port";
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_EQ(bells.take(7), 1u);
  EXPECT_FALSE(two_.upcall_pending());
  channels_.end_poll(2, 0);
}

TEST_P(Contract, PollingForSeveralPortsIsRungByEach) {
  const auto [ours, theirs] = quiet_channel();
  const auto [other, others_end] = world_.connect(1, 2);
  channels_.set_doorbell(2, 1, 7, 1);
  two_.set_mask(others_end, true);
  const Port both[] = {theirs, others_end};
  ASSERT_FALSE(channels_.begin_poll(2, 1, both, 2).value());
  ASSERT_TRUE(channels_.send(1, other));
  EXPECT_EQ(world_.machine.doorbells().take(7), 2u) << "vCPU 1 polls, although the port notifies vCPU 0";
  channels_.end_poll(2, 1);
  const std::vector<Port> many(129, theirs);
  EXPECT_TRUE(failed_with(channels_.begin_poll(2, 0, many.data(), 129), XenErrno::kInval));
}

TEST_P(Contract, BadConfigurationsAreRefused) {
  char page[64];
  EXPECT_FALSE(channels_.create_domain(9, {.vcpus = 0, .shared_info = page}));
  EXPECT_FALSE(channels_.create_domain(9, {.vcpus = 9, .shared_info = page}));
  EXPECT_FALSE(channels_.create_domain(9, {}));
  EXPECT_FALSE(channels_.create_domain(32752, {.shared_info = page}));
  EXPECT_FALSE(channels_.create_domain(1, {.shared_info = page})) << "exists";
}

INSTANTIATE_TEST_SUITE_P(Abis, Contract, kEveryAbi, name_of_abi);

}  // namespace
}  // namespace xenopolis::event
