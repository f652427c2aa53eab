// What each operation answers to each mistake, and in which order mistakes are looked for, as Xen does
// (xen/common/event_channel.c, event_fifo.c, sched/core.c). Where we differ: docs/compatibility.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

// Who is who. All speak the ABI under test.
constexpr DomId kSelf = 1;     // acts; 2 vCPUs
constexpr DomId kOther = 2;    // another guest
constexpr DomId kFull = 3;     // has no port left: 1 to 3 are open
constexpr DomId kNobody = 77;  // does not exist
constexpr Port kLastOfFull = 3;
constexpr Port kNeverUsed = 60;  // but of the first 64, which Xen has made
constexpr Port kNotThere = 4000;
constexpr VcpuId kNoVcpu = 2;

constexpr int kOk = 0;

class Scene {
 public:
  explicit Scene(Abi abi) : channels(world.channels), abi_(abi) {
    EXPECT_TRUE(create_dom0(channels, Abi::kFifo));
    add(kSelf, {.vcpus = 2});
    add(kOther, {});
    add(kFull, {.max_port = kLastOfFull});
    unbound = channels.alloc_unbound(kSelf, kSelf, kOther).value();
    connected = world.connect(kSelf, kOther).first;
    timer = channels.bind_virq(kSelf, VIRQ_TIMER, 0).value();
    ipi = channels.bind_ipi(kSelf, 0).value();
    argo = channels.bind_virq(kSelf, VIRQ_ARGO, 0).value();
    closed = channels.bind_ipi(kSelf, 0).value();
    EXPECT_TRUE(channels.close(kSelf, closed));
    offered_to_self = channels.alloc_unbound(kOther, kOther, kSelf).value();
    offered_to_nobody = channels.alloc_unbound(kOther, kOther, kNobody).value();
    offered_to_full = channels.alloc_unbound(kOther, kOther, kFull).value();
    EXPECT_TRUE(channels.bind_virq(kFull, VIRQ_TIMER, 0));
    EXPECT_TRUE(channels.bind_ipi(kFull, 0));
    EXPECT_TRUE(channels.alloc_unbound(kFull, kFull, kSelf));
  }

  World world;
  EventChannels& channels;
  Port unbound, connected, timer, ipi, argo, closed;         // kSelf's
  Port offered_to_self, offered_to_nobody, offered_to_full;  // kOther's
  uint8_t link_bits = 0;

 private:
  // A guest in 2-level may always change to FIFO.
  void add(DomId domid, const DomainConfig& config) {
    world.add_guest(domid, abi_ == Abi::kTwoLevel ? Abi::kFifo : abi_, config);
    if (abi_ == Abi::kTwoLevel) {
      EXPECT_TRUE(channels.reset(domid, domid));
    }
    EXPECT_EQ(channels.abi(domid), abi_);
  }

  const Abi abi_;
};

template <class T>
int error_of(const Result<T, XenErrno>& result) {
  return result ? kOk : static_cast<int>(result.error());
}

// What it answers in each ABI.
struct Answers {
  int two_level, three_level, fifo;
  Answers(int everywhere) : Answers(everywhere, everywhere, everywhere) {}  // NOLINT(google-explicit-constructor)
  Answers(int in_two_level, int in_three_level, int in_fifo)
      : two_level(in_two_level), three_level(in_three_level), fifo(in_fifo) {}
  int in(Abi abi) const { return abi == Abi::kFifo ? fifo : abi == Abi::kThreeLevel ? three_level : two_level; }
};

struct Row {
  const char* operation;
  const char* situation;
  Answers answers;
  std::function<int(Scene&)> act;
};

// clang-format off
const Row kRows[] = {
    // ESRCH, then ENOSPC, then EPERM; but a stranger is not told that somebody's table is full
    {"alloc_unbound", "ForItself", kOk, [](Scene& s) { return error_of(s.channels.alloc_unbound(kSelf, DOMID_SELF, kOther)); }},
    {"alloc_unbound", "ToBeBoundByItself", kOk, [](Scene& s) { return error_of(s.channels.alloc_unbound(kSelf, kSelf, DOMID_SELF)); }},
    {"alloc_unbound", "ForARemoteThatDoesNotExist", kOk, [](Scene& s) { return error_of(s.channels.alloc_unbound(kSelf, kSelf, kNobody)); }},
    {"alloc_unbound", "InADomainThatDoesNotExist", ESRCH, [](Scene& s) { return error_of(s.channels.alloc_unbound(kSelf, kNobody, kSelf)); }},
    {"alloc_unbound", "InADomainThatDoesNotExistByDom0", ESRCH, [](Scene& s) { return error_of(s.channels.alloc_unbound(kDom0, kNobody, kSelf)); }},
    {"alloc_unbound", "InAnotherDomain", EPERM, [](Scene& s) { return error_of(s.channels.alloc_unbound(kSelf, kOther, kSelf)); }},
    {"alloc_unbound", "InAnotherDomainByDom0", kOk, [](Scene& s) { return error_of(s.channels.alloc_unbound(kDom0, kOther, kSelf)); }},
    {"alloc_unbound", "InAnotherDomainThatIsFull", EPERM, [](Scene& s) { return error_of(s.channels.alloc_unbound(kSelf, kFull, kSelf)); }},
    {"alloc_unbound", "WithoutAPortLeft", ENOSPC, [](Scene& s) { return error_of(s.channels.alloc_unbound(kFull, kFull, kSelf)); }},
    {"alloc_unbound", "InAFullDomainByDom0", ENOSPC, [](Scene& s) { return error_of(s.channels.alloc_unbound(kDom0, kFull, kSelf)); }},

    // ESRCH, ENOSPC at home, EINVAL for the remote port
    {"bind_interdomain", "ToWhatIsOfferedToIt", kOk, [](Scene& s) { return error_of(s.channels.bind_interdomain(kSelf, kOther, s.offered_to_self)); }},
    {"bind_interdomain", "ToADomainThatDoesNotExist", ESRCH, [](Scene& s) { return error_of(s.channels.bind_interdomain(kSelf, kNobody, 1)); }},
    {"bind_interdomain", "ToADomainThatDoesNotExistWithoutAPortLeft", ESRCH, [](Scene& s) { return error_of(s.channels.bind_interdomain(kFull, kNobody, 1)); }},
    {"bind_interdomain", "ToWhatIsOfferedToAnother", EINVAL, [](Scene& s) { return error_of(s.channels.bind_interdomain(kSelf, kOther, s.offered_to_nobody)); }},
    {"bind_interdomain", "ToAnotherByDom0", EINVAL, [](Scene& s) { return error_of(s.channels.bind_interdomain(kDom0, kOther, s.offered_to_self)); }},
    {"bind_interdomain", "ToAPortThatIsNotThere", EINVAL, [](Scene& s) { return error_of(s.channels.bind_interdomain(kSelf, kOther, kNotThere)); }},
    {"bind_interdomain", "ToAPortThatIsConnected", EINVAL, [](Scene& s) { return error_of(s.channels.bind_interdomain(kOther, kSelf, s.connected)); }},
    {"bind_interdomain", "ToTheReservedPort", EINVAL, [](Scene& s) { return error_of(s.channels.bind_interdomain(kSelf, kOther, 0)); }},
    {"bind_interdomain", "ToAnAbsurdPort", EINVAL, [](Scene& s) { return error_of(s.channels.bind_interdomain(kSelf, kOther, ~0u)); }},
    {"bind_interdomain", "ToAnAbsurdPortWithoutAPortLeft", ENOSPC, [](Scene& s) { return error_of(s.channels.bind_interdomain(kFull, kOther, ~0u)); }},
    {"bind_interdomain", "WithoutAPortLeft", ENOSPC, [](Scene& s) { return error_of(s.channels.bind_interdomain(kFull, kOther, s.offered_to_full)); }},
    {"bind_interdomain", "ToItsOwnPortForAnother", EINVAL, [](Scene& s) { return error_of(s.channels.bind_interdomain(kSelf, DOMID_SELF, s.unbound)); }},
    {"bind_interdomain", "ToItsOwnPortForItself", kOk, [](Scene& s) {
       const Port own = s.channels.alloc_unbound(kSelf, DOMID_SELF, DOMID_SELF).value();
       return error_of(s.channels.bind_interdomain(kSelf, DOMID_SELF, own));
     }},
    {"bind_interdomain", "ToThePortThatItIsAboutToGet", EINVAL, [](Scene& s) { return error_of(s.channels.bind_interdomain(kSelf, DOMID_SELF, s.closed)); }},

    // EINVAL, ENOENT, EBUSY, EEXIST, ENOSPC
    {"bind_virq", "OfEachVcpu", kOk, [](Scene& s) { return error_of(s.channels.bind_virq(kSelf, VIRQ_TIMER, 1)); }},
    {"bind_virq", "OfUnknownNumber", EINVAL, [](Scene& s) { return error_of(s.channels.bind_virq(kSelf, NR_VIRQS, 0)); }},
    {"bind_virq", "OfUnknownNumberForAVcpuThatIsNotThere", EINVAL, [](Scene& s) { return error_of(s.channels.bind_virq(kSelf, ~0u, kNoVcpu)); }},
    {"bind_virq", "ForAVcpuThatIsNotThere", ENOENT, [](Scene& s) { return error_of(s.channels.bind_virq(kSelf, VIRQ_DEBUG, kNoVcpu)); }},
    {"bind_virq", "ForAVcpuThatIsNotThereWithoutAPortLeft", ENOENT, [](Scene& s) { return error_of(s.channels.bind_virq(kFull, VIRQ_DEBUG, ~0u)); }},
    {"bind_virq", "GlobalForAnotherVcpuThanTheFirst", EINVAL, [](Scene& s) { return error_of(s.channels.bind_virq(kDom0, VIRQ_DOM_EXC, 1)); }},
    {"bind_virq", "GlobalForAVcpuThatIsNotThere", EINVAL, [](Scene& s) { return error_of(s.channels.bind_virq(kDom0, VIRQ_DOM_EXC, 99)); }},
    {"bind_virq", "GlobalByDom0", kOk, [](Scene& s) { return error_of(s.channels.bind_virq(kDom0, VIRQ_DOM_EXC, 0)); }},
    {"bind_virq", "GlobalByAGuest", EBUSY, [](Scene& s) { return error_of(s.channels.bind_virq(kSelf, VIRQ_DOM_EXC, 0)); }},
    {"bind_virq", "GlobalOfTheArchitectureByAGuest", EBUSY, [](Scene& s) { return error_of(s.channels.bind_virq(kSelf, VIRQ_ARCH_0, 0)); }},
    {"bind_virq", "GlobalByAGuestWithoutAPortLeft", EBUSY, [](Scene& s) { return error_of(s.channels.bind_virq(kFull, VIRQ_CONSOLE, 0)); }},
    {"bind_virq", "OfArgoWhichIsEachDomainsOwn", kOk, [](Scene& s) { return error_of(s.channels.bind_virq(kOther, VIRQ_ARGO, 0)); }},
    {"bind_virq", "ASecondTime", EEXIST, [](Scene& s) { return error_of(s.channels.bind_virq(kSelf, VIRQ_TIMER, 0)); }},
    {"bind_virq", "ASecondTimeWithoutAPortLeft", EEXIST, [](Scene& s) { return error_of(s.channels.bind_virq(kFull, VIRQ_TIMER, 0)); }},
    {"bind_virq", "AgainAfterItWasClosed", kOk, [](Scene& s) {
       EXPECT_TRUE(s.channels.close(kSelf, s.timer));
       return error_of(s.channels.bind_virq(kSelf, VIRQ_TIMER, 0));
     }},
    {"bind_virq", "WithoutAPortLeft", ENOSPC, [](Scene& s) { return error_of(s.channels.bind_virq(kFull, VIRQ_DEBUG, 0)); }},

    {"bind_ipi", "ToAVcpu", kOk, [](Scene& s) { return error_of(s.channels.bind_ipi(kSelf, 1)); }},
    {"bind_ipi", "ToAVcpuThatIsNotThere", ENOENT, [](Scene& s) { return error_of(s.channels.bind_ipi(kSelf, kNoVcpu)); }},
    {"bind_ipi", "ToAVcpuThatIsNotThereWithoutAPortLeft", ENOENT, [](Scene& s) { return error_of(s.channels.bind_ipi(kFull, ~0u)); }},
    {"bind_ipi", "WithoutAPortLeft", ENOSPC, [](Scene& s) { return error_of(s.channels.bind_ipi(kFull, 0)); }},

    {"close", "OfAnUnboundPort", kOk, [](Scene& s) { return error_of(s.channels.close(kSelf, s.unbound)); }},
    {"close", "OfAConnectedPort", kOk, [](Scene& s) { return error_of(s.channels.close(kSelf, s.connected)); }},
    {"close", "OfAnIpi", kOk, [](Scene& s) { return error_of(s.channels.close(kSelf, s.ipi)); }},
    {"close", "OfAVirq", kOk, [](Scene& s) { return error_of(s.channels.close(kSelf, s.timer)); }},
    {"close", "OfAClosedPort", EINVAL, [](Scene& s) { return error_of(s.channels.close(kSelf, s.closed)); }},
    {"close", "OfAPortThatWasNeverUsed", EINVAL, [](Scene& s) { return error_of(s.channels.close(kSelf, kNeverUsed)); }},
    {"close", "OfTheReservedPort", EINVAL, [](Scene& s) { return error_of(s.channels.close(kSelf, 0)); }},
    {"close", "OfAPortThatIsNotThere", EINVAL, [](Scene& s) { return error_of(s.channels.close(kSelf, kNotThere)); }},
    {"close", "OfAnAbsurdPort", EINVAL, [](Scene& s) { return error_of(s.channels.close(kSelf, ~0u)); }},

    {"send", "OnAConnectedPort", kOk, [](Scene& s) { return error_of(s.channels.send(kSelf, s.connected)); }},
    {"send", "OnAnIpi", kOk, [](Scene& s) { return error_of(s.channels.send(kSelf, s.ipi)); }},
    {"send", "ToNobodyYet", kOk, [](Scene& s) { return error_of(s.channels.send(kSelf, s.unbound)); }},
    {"send", "OnAVirq", EINVAL, [](Scene& s) { return error_of(s.channels.send(kSelf, s.timer)); }},
    {"send", "OnAClosedPort", EINVAL, [](Scene& s) { return error_of(s.channels.send(kSelf, s.closed)); }},
    {"send", "OnAPortThatWasNeverUsed", EINVAL, [](Scene& s) { return error_of(s.channels.send(kSelf, kNeverUsed)); }},
    {"send", "OnTheReservedPort", EINVAL, [](Scene& s) { return error_of(s.channels.send(kSelf, 0)); }},
    {"send", "OnAPortThatIsNotThere", EINVAL, [](Scene& s) { return error_of(s.channels.send(kSelf, kNotThere)); }},
    {"send", "OnAnAbsurdPort", EINVAL, [](Scene& s) { return error_of(s.channels.send(kSelf, ~0u)); }},

    // ESRCH, EINVAL, EPERM
    {"status", "OfAnOpenPort", kOk, [](Scene& s) { return error_of(s.channels.status(kSelf, DOMID_SELF, s.connected)); }},
    {"status", "OfAClosedPort", kOk, [](Scene& s) { return error_of(s.channels.status(kSelf, kSelf, s.closed)); }},
    {"status", "OfAPortThatWasNeverUsed", kOk, [](Scene& s) { return error_of(s.channels.status(kSelf, kSelf, kNeverUsed)); }},
    {"status", "OfTheReservedPort", kOk, [](Scene& s) { return error_of(s.channels.status(kSelf, kSelf, 0)); }},
    {"status", "OfAPortThatIsNotThere", EINVAL, [](Scene& s) { return error_of(s.channels.status(kSelf, kSelf, kNotThere)); }},
    {"status", "OfAnAbsurdPort", EINVAL, [](Scene& s) { return error_of(s.channels.status(kSelf, kSelf, ~0u)); }},
    {"status", "InADomainThatDoesNotExist", ESRCH, [](Scene& s) { return error_of(s.channels.status(kSelf, kNobody, ~0u)); }},
    {"status", "InAnotherDomain", EPERM, [](Scene& s) { return error_of(s.channels.status(kSelf, kOther, s.offered_to_self)); }},
    {"status", "InDom0", EPERM, [](Scene& s) { return error_of(s.channels.status(kSelf, kDom0, 1)); }},
    {"status", "OfAPortThatIsNotThereInAnotherDomain", EINVAL, [](Scene& s) { return error_of(s.channels.status(kSelf, kOther, kNotThere)); }},
    {"status", "InAnotherDomainByDom0", kOk, [](Scene& s) { return error_of(s.channels.status(kDom0, kOther, s.offered_to_self)); }},

    // ENOENT, EINVAL
    {"bind_vcpu", "OfAnUnboundPort", kOk, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.unbound, 1)); }},
    {"bind_vcpu", "OfAConnectedPort", kOk, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.connected, 1)); }},
    {"bind_vcpu", "ToWhereItIs", kOk, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.connected, 0)); }},
    {"bind_vcpu", "OfAGlobalVirq", kOk, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.argo, 1)); }},
    {"bind_vcpu", "OfAVcpusVirq", EINVAL, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.timer, 1)); }},
    {"bind_vcpu", "OfAVcpusVirqToWhereItIs", EINVAL, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.timer, 0)); }},
    {"bind_vcpu", "OfAnIpi", EINVAL, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.ipi, 1)); }},
    {"bind_vcpu", "OfAClosedPort", EINVAL, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.closed, 1)); }},
    {"bind_vcpu", "OfTheReservedPort", EINVAL, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, 0, 1)); }},
    {"bind_vcpu", "OfAnAbsurdPort", EINVAL, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, ~0u, 1)); }},
    {"bind_vcpu", "ToAVcpuThatIsNotThere", ENOENT, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, s.connected, kNoVcpu)); }},
    {"bind_vcpu", "OfAnAbsurdPortToAVcpuThatIsNotThere", ENOENT, [](Scene& s) { return error_of(s.channels.bind_vcpu(kSelf, ~0u, ~0u)); }},

    // a closed port has no mask: nothing happens
    {"unmask", "OfAnOpenPort", kOk, [](Scene& s) { return error_of(s.channels.unmask(kSelf, s.connected)); }},
    {"unmask", "OfAClosedPort", kOk, [](Scene& s) { return error_of(s.channels.unmask(kSelf, s.closed)); }},
    {"unmask", "OfAPortThatWasNeverUsed", kOk, [](Scene& s) { return error_of(s.channels.unmask(kSelf, kNeverUsed)); }},
    {"unmask", "OfTheReservedPort", kOk, [](Scene& s) { return error_of(s.channels.unmask(kSelf, 0)); }},
    {"unmask", "OfAPortThatIsNotThere", EINVAL, [](Scene& s) { return error_of(s.channels.unmask(kSelf, kNotThere)); }},
    {"unmask", "OfAnAbsurdPort", EINVAL, [](Scene& s) { return error_of(s.channels.unmask(kSelf, ~0u)); }},

    // EINVAL for the port, ENOSYS, EACCES, EINVAL for the priority
    {"set_priority", "OfAnOpenPort", {ENOSYS, ENOSYS, kOk}, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, s.connected, 15)); }},
    {"set_priority", "OfAPortThatIsNotThere", EINVAL, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, kNotThere, 3)); }},
    {"set_priority", "OfAnAbsurdPort", EINVAL, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, ~0u, 3)); }},
    {"set_priority", "OfAClosedPort", {ENOSYS, ENOSYS, EACCES}, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, s.closed, 3)); }},
    {"set_priority", "OfAPortThatWasNeverUsed", {ENOSYS, ENOSYS, EACCES}, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, kNeverUsed, 3)); }},
    {"set_priority", "OfTheReservedPort", {ENOSYS, ENOSYS, EACCES}, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, 0, 3)); }},
    {"set_priority", "TooLowForAClosedPort", {ENOSYS, ENOSYS, EACCES}, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, s.closed, 16)); }},
    {"set_priority", "TooLow", {ENOSYS, ENOSYS, EINVAL}, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, s.connected, 16)); }},
    {"set_priority", "OfAbsurdHeight", {ENOSYS, ENOSYS, EINVAL}, [](Scene& s) { return error_of(s.channels.set_priority(kSelf, s.connected, ~0u)); }},

    // ENOENT, EINVAL
    {"init_control", "OfTheFirstVcpu", {kOk, ENOSYS, EINVAL}, [](Scene& s) { return error_of(s.channels.init_control(kSelf, 0, 100, 0, s.link_bits)); }},
    {"init_control", "ASecondTime", {EINVAL, ENOSYS, EINVAL}, [](Scene& s) {
       (void)s.channels.init_control(kSelf, 1, 100, 0, s.link_bits);
       return error_of(s.channels.init_control(kSelf, 1, 101, 0, s.link_bits));
     }},
    {"init_control", "OfAVcpuThatIsNotThere", {ENOENT, ENOSYS, ENOENT}, [](Scene& s) { return error_of(s.channels.init_control(kSelf, kNoVcpu, 100, 0, s.link_bits)); }},
    {"init_control", "OfAVcpuThatIsNotThereWithAnAbsurdOffset", {ENOENT, ENOSYS, ENOENT}, [](Scene& s) { return error_of(s.channels.init_control(kSelf, ~0u, ~0ull, ~0u, s.link_bits)); }},
    {"init_control", "AcrossThePagesEnd", {EINVAL, ENOSYS, EINVAL}, [](Scene& s) { return error_of(s.channels.init_control(kSelf, 0, 100, 4096 - 64, s.link_bits)); }},
    {"init_control", "AtAnAbsurdOffset", {EINVAL, ENOSYS, EINVAL}, [](Scene& s) { return error_of(s.channels.init_control(kSelf, 0, 100, 0xffff'fff8, s.link_bits)); }},
    {"init_control", "NotAligned", {EINVAL, ENOSYS, EINVAL}, [](Scene& s) { return error_of(s.channels.init_control(kSelf, 0, 100, 4, s.link_bits)); }},
    {"init_control", "InAFrameThatIsNotThere", {EINVAL, ENOSYS, EINVAL}, [](Scene& s) { return error_of(s.channels.init_control(kSelf, 0, kRamPages, 0, s.link_bits)); }},

    // EOPNOTSUPP, ENOSPC, EINVAL
    {"expand_array", "WithAPage", {EOPNOTSUPP, ENOSYS, kOk}, [](Scene& s) { return error_of(s.channels.expand_array(kSelf, 100)); }},
    {"expand_array", "WithAFrameThatIsNotThere", {EOPNOTSUPP, ENOSYS, EINVAL}, [](Scene& s) { return error_of(s.channels.expand_array(kSelf, kRamPages)); }},
    {"expand_array", "BeyondThePortsThatThereCanBe", {EOPNOTSUPP, ENOSYS, ENOSPC}, [](Scene& s) {
       for (unsigned page = 1; page < kMaxArrayPages; ++page) (void)s.channels.expand_array(kSelf, page);
       return error_of(s.channels.expand_array(kSelf, kRamPages));
     }},

    // ENOSYS, ENOENT, EINVAL
    {"register_selector", "OfAVcpuThatHasOne", {ENOSYS, EINVAL, ENOSYS}, [](Scene& s) { return error_of(s.channels.register_selector(kSelf, 0, 100, 0)); }},
    {"register_selector", "OfAVcpuThatIsNotThere", {ENOSYS, ENOENT, ENOSYS}, [](Scene& s) { return error_of(s.channels.register_selector(kSelf, kNoVcpu, ~0ull, ~0u)); }},
    {"register_selector", "AcrossThePagesEnd", {ENOSYS, EINVAL, ENOSYS}, [](Scene& s) { return error_of(s.channels.register_selector(kSelf, 0, 100, 4096 - 504)); }},

    // ESRCH, EPERM
    {"reset", "OfItself", kOk, [](Scene& s) { return error_of(s.channels.reset(kSelf, DOMID_SELF)); }},
    {"reset", "OfItselfByNumber", kOk, [](Scene& s) { return error_of(s.channels.reset(kSelf, kSelf)); }},
    {"reset", "OfADomainThatDoesNotExist", ESRCH, [](Scene& s) { return error_of(s.channels.reset(kSelf, kNobody)); }},
    {"reset", "OfAnotherDomain", EPERM, [](Scene& s) { return error_of(s.channels.reset(kSelf, kOther)); }},
    {"reset", "OfDom0", EPERM, [](Scene& s) { return error_of(s.channels.reset(kSelf, kDom0)); }},

    // port by port: the first that is pending (0) or not open (EINVAL)
    {"poll", "ForNoPort", kOk, [](Scene& s) { return error_of(s.channels.begin_poll(kSelf, 0, nullptr, 0)); }},
    {"poll", "ForAnOpenPort", kOk, [](Scene& s) { return error_of(s.channels.begin_poll(kSelf, 0, &s.connected, 1)); }},
    {"poll", "ForAClosedPort", EINVAL, [](Scene& s) { return error_of(s.channels.begin_poll(kSelf, 0, &s.closed, 1)); }},
    {"poll", "ForTheReservedPort", EINVAL, [](Scene& s) { const Port zero = 0; return error_of(s.channels.begin_poll(kSelf, 0, &zero, 1)); }},
    {"poll", "ForAnAbsurdPort", EINVAL, [](Scene& s) { const Port port = ~0u; return error_of(s.channels.begin_poll(kSelf, 0, &port, 1)); }},
    {"poll", "ForAPendingPortAndThenAClosedOne", kOk, [](Scene& s) {
       EXPECT_TRUE(s.channels.send(kSelf, s.ipi));
       const Port ports[] = {s.ipi, s.closed};
       return error_of(s.channels.begin_poll(kSelf, 0, ports, 2));
     }},
    {"poll", "ForAClosedPortAndThenAPendingOne", EINVAL, [](Scene& s) {
       EXPECT_TRUE(s.channels.send(kSelf, s.ipi));
       const Port ports[] = {s.closed, s.ipi};
       return error_of(s.channels.begin_poll(kSelf, 0, ports, 2));
     }},
    {"poll", "ForMoreThan128Ports", EINVAL, [](Scene& s) {
       EXPECT_TRUE(s.channels.send(kSelf, s.ipi));
       const std::vector<Port> ports(129, s.ipi);
       return error_of(s.channels.begin_poll(kSelf, 0, ports.data(), 129));
     }},
};
// clang-format on

std::string text_of(int answer) {
  static const std::map<int, std::string> kNames{{kOk, "Works"},     {EPERM, "EPERM"},          {ENOENT, "ENOENT"},
                                                 {ESRCH, "ESRCH"},   {EACCES, "EACCES"},        {EBUSY, "EBUSY"},
                                                 {EEXIST, "EEXIST"}, {EINVAL, "EINVAL"},        {ENOSPC, "ENOSPC"},
                                                 {ENOSYS, "ENOSYS"}, {EOPNOTSUPP, "EOPNOTSUPP"}};
  return kNames.at(answer);
}

class ErrorsTest : public testing::TestWithParam<std::tuple<Abi, Row>> {};

TEST_P(ErrorsTest, AnswerIsXens) {
  const auto& [abi, row] = GetParam();
  Scene scene(abi);
  EXPECT_EQ(row.act(scene), row.answers.in(abi)) << row.operation << " " << row.situation;
}

std::string name_of_test(const testing::TestParamInfo<std::tuple<Abi, Row>>& test) {
  const auto& [abi, row] = test.param;
  return fmt::format("{}_{}_{}_{}", row.operation, row.situation, text_of(row.answers.in(abi)),
                     name_of_abi({abi, test.index}));
}

INSTANTIATE_TEST_SUITE_P(, ErrorsTest, testing::Combine(kEveryAbi, testing::ValuesIn(kRows)), name_of_test);

}  // namespace
}  // namespace xenopolis::event
