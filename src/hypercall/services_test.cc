// Hypercalls about the world outside the CPU: memory, time, scheduling, events, grants, version, console.
#include <gtest/gtest.h>

#include "hypercall/bounce.h"
#include "hypercall/test_domain.h"
#include "hypercall/time.h"
#include "xen_abi/pv_layout.h"

namespace xenopolis::hypercall {
namespace {

using domain::AfterHypercall;

class ServicesTest : public testing::Test {
 protected:
  template <class... Values>
  int64_t call(uint64_t number, Values... values) {
    return domain_.call(number, values...);
  }
  // An operation that takes one structure: its answer, and the structure as the guest finds it afterwards.
  template <class T>
  int64_t operate(uint64_t number, uint64_t command, T& argument) {
    const uint64_t address = domain_.put(argument);
    const int64_t answer = call(number, command, address, 1);
    argument = domain_.get<T>(address);
    return answer;
  }
  template <class T>
  int64_t event_op(uint64_t command, T& argument) {
    return operate(__HYPERVISOR_event_channel_op, command, argument);
  }
  template <class T>
  int64_t event_op(uint64_t command, T&& argument) {
    T copy = argument;
    return operate(__HYPERVISOR_event_channel_op, command, copy);
  }
  template <class T>
  int64_t vcpu_op(uint64_t command, const T& argument, uint64_t vcpu = 0) {
    return call(__HYPERVISOR_vcpu_op, command, vcpu, domain_.put(argument));
  }
  AfterHypercall after() const { return domain_.vcpu.after; }

  TestDomain domain_;
};

// --- memory_op

class MemoryOpTest : public ServicesTest {
 protected:
  int64_t reserve(uint64_t command, const std::vector<uint64_t>& gfns, unsigned order = 0, domid_t domid = DOMID_SELF) {
    for (size_t i = 0; i < gfns.size(); ++i) CHECK(domain_.memory.write(RamMemory::kBase + i * 8, gfns[i]));
    xen_memory_reservation reservation{};
    reservation.extent_start.p = reinterpret_cast<xen_pfn_t*>(RamMemory::kBase);
    reservation.nr_extents = gfns.size();
    reservation.extent_order = order;
    reservation.domid = domid;
    return call(__HYPERVISOR_memory_op, command, domain_.put(reservation));
  }
  int64_t reserved() {
    return call(__HYPERVISOR_memory_op, XENMEM_current_reservation, domain_.put(domid_t{DOMID_SELF}));
  }
};

TEST_F(MemoryOpTest, FramesGivenBackLoseTheirContentAndCanBeHadAgain) {
  domain_.ram()[100 * kPageSize] = 1;
  domain_.ram()[101 * kPageSize] = 1;
  EXPECT_EQ(reserve(XENMEM_decrease_reservation, {100}), 1);
  EXPECT_EQ(reserved(), static_cast<int64_t>(TestDomain::kRamPages) - 1);
  EXPECT_EQ(domain_.ram()[100 * kPageSize], 0);
  EXPECT_EQ(domain_.ram()[101 * kPageSize], 1);
  EXPECT_EQ(reserve(XENMEM_populate_physmap, {100}), 1);
  EXPECT_EQ(domain_.get<uint64_t>(RamMemory::kBase), 100u);
  EXPECT_EQ(reserved(), static_cast<int64_t>(TestDomain::kRamPages));
}

TEST_F(MemoryOpTest, ReservationsStopAtTheFirstExtentThatDoesNotDo) {
  EXPECT_EQ(reserve(XENMEM_populate_physmap, {100}), 0);
  EXPECT_EQ(reserve(XENMEM_decrease_reservation, {100, 101, TestDomain::kRamPages, 102}), 2);
  EXPECT_EQ(reserve(XENMEM_decrease_reservation, {100}), 0);
  EXPECT_EQ(reserve(XENMEM_populate_physmap, {101, 102, 100}), 1);
  EXPECT_EQ(reserve(XENMEM_decrease_reservation, {512}, 9), 1);
  EXPECT_EQ(reserve(XENMEM_decrease_reservation, {TestDomain::kRamPages - 1}, 1), 0);
  EXPECT_EQ(reserve(XENMEM_decrease_reservation, {0}, 10), 0);
  EXPECT_EQ(reserve(XENMEM_decrease_reservation, {0}, 64), 0);
  EXPECT_EQ(reserve(XENMEM_decrease_reservation, {103}, 0, 8), 0);
  EXPECT_EQ(reserve(XENMEM_increase_reservation, {100}), 0);
}

TEST_F(MemoryOpTest, ReservationsOfAbsurdLengthAreBounded) {
  xen_memory_reservation reservation{};
  reservation.nr_extents = ~0ull;
  reservation.domid = DOMID_SELF;
  // A list of zeros: the frame is populated once, then it is the wrong answer.
  reservation.extent_start.p = reinterpret_cast<xen_pfn_t*>(RamMemory::kBase);
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, domain_.put(reservation)), 1);
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation | ~0ull << 6, domain_.put(reservation)),
            static_cast<int64_t>(~0ull >> 6));
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, kNowhere), 0);
}

TEST_F(MemoryOpTest, ReservationCanStartLater) {
  ASSERT_TRUE(domain_.memory.write(RamMemory::kBase, std::array<uint64_t, 2>{100, 101}));
  xen_memory_reservation reservation{};
  reservation.extent_start.p = reinterpret_cast<xen_pfn_t*>(RamMemory::kBase);
  reservation.nr_extents = 2;
  reservation.domid = DOMID_SELF;
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation | 1 << 6, domain_.put(reservation)), 2);
  EXPECT_EQ(domain_.vcpu.reservation.given_back(), 1u);
}

TEST_F(MemoryOpTest, GuestLearnsHowMuchMemoryThereIs) {
  constexpr auto kPages = static_cast<int64_t>(TestDomain::kRamPages);
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_maximum_ram_page), kPages);
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation, domain_.put(domid_t{7})), kPages);
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation, domain_.put(domid_t{8})), -EPERM);
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_maximum_reservation, domain_.put(domid_t{0x7ff5})), -ESRCH);
  EXPECT_EQ(call(__HYPERVISOR_memory_op, XENMEM_maximum_gpfn, domain_.put(domid_t{DOMID_SELF})), kPages - 1);

  xen_machphys_mapping mapping{};
  EXPECT_EQ(operate(__HYPERVISOR_memory_op, XENMEM_machphys_mapping, mapping), 0);
  EXPECT_EQ(mapping.max_mfn, TestDomain::kRamPages - 1);
  EXPECT_EQ(mapping.v_start, pv_layout::kM2pStart);
  EXPECT_EQ(mapping.v_end - mapping.v_start, 2 * kPageSize);

  xen_memory_map map{};
  map.nr_entries = 128;
  map.buffer.p = reinterpret_cast<void*>(RamMemory::kBase);
  EXPECT_EQ(operate(__HYPERVISOR_memory_op, XENMEM_memory_map, map), 0);
  EXPECT_EQ(map.nr_entries, 1u);
  EXPECT_EQ(domain_.get<uint64_t>(RamMemory::kBase + 8), TestDomain::kRamPages * kPageSize);
  EXPECT_EQ(domain_.get<uint32_t>(RamMemory::kBase + 16), 1u);
  for (const uint64_t command : {XENMEM_exchange, XENMEM_add_to_physmap, XENMEM_machphys_mfn_list, 63}) {
    EXPECT_EQ(call(__HYPERVISOR_memory_op, command, TestDomain::kScratch), -ENOSYS) << command;
  }
}

// --- sched_op

TEST_F(ServicesTest, SchedulingAsksTheRunnerToWait) {
  vcpu_info& info = domain_.info();
  info.evtchn_upcall_pending = 0;
  set_upcalls_masked(info, true);
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_yield), 0);
  EXPECT_EQ(after(), AfterHypercall::kYield);
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_block), 0);
  EXPECT_EQ(after(), AfterHypercall::kBlock);
  EXPECT_FALSE(upcalls_masked(info));
  EXPECT_EQ(call(__HYPERVISOR_xen_version, XENVER_version), kXenMajor << 16 | kXenMinor);
  EXPECT_EQ(after(), AfterHypercall::kContinue);
}

TEST_F(ServicesTest, BlockingDoesNotSleepThroughAPendingEvent) {
  set_upcalls_masked(domain_.info(), true);
  domain_.info().evtchn_upcall_pending = 1;
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_block), 0);
  EXPECT_EQ(after(), AfterHypercall::kContinue);
  EXPECT_FALSE(upcalls_masked(domain_.info()));
}

TEST_F(ServicesTest, ShutdownEndsTheDomainWithItsReason) {
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_shutdown, domain_.put(sched_shutdown{SHUTDOWN_reboot})), 0);
  EXPECT_EQ(after(), AfterHypercall::kShutdown);
  EXPECT_EQ(domain_.vcpu.shutdown_reason, static_cast<uint32_t>(SHUTDOWN_reboot));
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_shutdown, kNowhere), -EFAULT);
  EXPECT_EQ(after(), AfterHypercall::kContinue);
  EXPECT_EQ(call(__HYPERVISOR_sched_op_compat, SCHEDOP_shutdown, SHUTDOWN_crash), 0);
  EXPECT_EQ(domain_.vcpu.shutdown_reason, static_cast<uint32_t>(SHUTDOWN_crash));
}

TEST_F(ServicesTest, SchedulingOperationsForOthersAreRefused) {
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, TestDomain::kScratch), -EPERM);
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_watchdog, TestDomain::kScratch), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_shutdown_code, TestDomain::kScratch), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_pin_override, TestDomain::kScratch), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_sched_op_compat, SCHEDOP_poll, TestDomain::kScratch), -ENOSYS);
}

TEST_F(ServicesTest, PollWaitsForItsPortsOnly) {
  evtchn_bind_ipi bind{};
  ASSERT_EQ(event_op(EVTCHNOP_bind_ipi, bind), 0);
  set_upcalls_masked(domain_.info(), true);
  sched_poll poll{};
  poll.ports.p = reinterpret_cast<evtchn_port_t*>(domain_.put(bind.port));
  poll.nr_ports = 1;
  poll.timeout = 77;
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_poll, domain_.put(poll)), 0);
  EXPECT_EQ(after(), AfterHypercall::kPoll);
  EXPECT_EQ(domain_.vcpu.poll_deadline_ns, 77u);
  domain_.events.end_poll(TestDomain::kDomId, 0);
  poll.timeout = 0;
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_poll, domain_.put(poll)), 0);
  EXPECT_EQ(domain_.vcpu.poll_deadline_ns, std::nullopt);
  domain_.events.end_poll(TestDomain::kDomId, 0);
  ASSERT_EQ(event_op(EVTCHNOP_send, evtchn_send{bind.port}), 0);
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_poll, domain_.put(poll)), 0);
  EXPECT_EQ(after(), AfterHypercall::kContinue);
  poll.nr_ports = 129;
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_poll, domain_.put(poll)), -EINVAL);
  poll.nr_ports = 128;
  poll.ports.p = reinterpret_cast<evtchn_port_t*>(kNowhere);
  EXPECT_EQ(call(__HYPERVISOR_sched_op, SCHEDOP_poll, domain_.put(poll)), -EFAULT);
}

// --- vcpu_op and timers

TEST_F(ServicesTest, OtherVcpusDoNotExist) {
  for (const uint64_t vcpu : {1ull, 31ull, 8191ull, 1ull << 32, ~0ull}) {
    EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_is_up, vcpu), -ENOENT) << vcpu;
  }
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 0), 1);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_up, 0), 0);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_send_nmi, 0, TestDomain::kScratch), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_send_nmi, 0), 0);
  EXPECT_FALSE(domain_.vcpu.nmi_pending);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_initialise, 0), -EEXIST);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_get_physid, 0, TestDomain::kScratch), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_down, 0), 0);
  EXPECT_EQ(after(), AfterHypercall::kShutdown);
}

TEST_F(ServicesTest, TimersAreSetAndStopped) {
  EXPECT_EQ(vcpu_op(VCPUOP_set_singleshot_timer, vcpu_set_singleshot_timer{5'000'000'000, 0}), 0);
  EXPECT_EQ(domain_.vcpu.timer_ns, 5'000'000'000u);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_stop_singleshot_timer, 0), 0);
  EXPECT_EQ(domain_.vcpu.timer_ns, std::nullopt);
  EXPECT_EQ(vcpu_op(VCPUOP_set_singleshot_timer, vcpu_set_singleshot_timer{5, VCPU_SSHOTTMR_future}), -ETIME);
  EXPECT_EQ(vcpu_op(VCPUOP_set_singleshot_timer, vcpu_set_singleshot_timer{5, 0}), 0);
  EXPECT_EQ(domain_.vcpu.timer_ns, 5u);

  EXPECT_EQ(vcpu_op(VCPUOP_set_periodic_timer, vcpu_set_periodic_timer{10'000'000}), 0);
  EXPECT_EQ(domain_.vcpu.periodic_ns, 10'000'000u);
  EXPECT_EQ(vcpu_op(VCPUOP_set_periodic_timer, vcpu_set_periodic_timer{1}), -EINVAL);
  EXPECT_EQ(vcpu_op(VCPUOP_set_periodic_timer, vcpu_set_periodic_timer{~0ull}), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_stop_periodic_timer, 0), 0);
  EXPECT_EQ(domain_.vcpu.periodic_ns, 0u);

  const uint64_t now_ns = domain_.clock.now_ns();
  EXPECT_EQ(call(__HYPERVISOR_set_timer_op, now_ns + 5), 0);
  EXPECT_EQ(domain_.vcpu.timer_ns, now_ns + 5);
  EXPECT_EQ(call(__HYPERVISOR_set_timer_op, ~0ull), 0);
  EXPECT_EQ(domain_.vcpu.timer_ns, now_ns + 100'000'000);
  EXPECT_EQ(call(__HYPERVISOR_set_timer_op, 0), 0);
  EXPECT_EQ(domain_.vcpu.timer_ns, std::nullopt);
}

TEST_F(ServicesTest, VcpuInfoMovesOnceIntoAlignedRam) {
  struct Row {
    uint64_t gfn;
    uint32_t offset;
  };
  for (const Row& row : {Row{TestDomain::kRamPages, 0}, Row{~0ull, 0}, Row{5, 4096 - 56}, Row{5, 4}, Row{5, ~0u}}) {
    EXPECT_EQ(vcpu_op(VCPUOP_register_vcpu_info, vcpu_register_vcpu_info{row.gfn, row.offset, 0}), -EINVAL)
        << row.gfn << "+" << row.offset;
  }
  EXPECT_EQ(vcpu_op(VCPUOP_register_vcpu_info, vcpu_register_vcpu_info{5, 4096 - 64, 0}), 0);
  EXPECT_EQ(reinterpret_cast<uint8_t*>(&domain_.info()), domain_.ram() + 6 * kPageSize - 64);
  EXPECT_EQ(vcpu_op(VCPUOP_register_vcpu_info, vcpu_register_vcpu_info{6, 0, 0}), -EINVAL);
}

TEST_F(ServicesTest, RunstateIsReadAndPublished) {
  set_runstate(domain_.vcpu, RUNSTATE_running, domain_.clock.now_ns());
  domain_.clock.advance_ns(500);
  const uint64_t here = domain_.put(vcpu_runstate_info{});
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0, here), 0);
  EXPECT_EQ(domain_.get<vcpu_runstate_info>(here).time[RUNSTATE_running], 500u);
  EXPECT_EQ(call(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0, kNowhere), -EFAULT);

  const uint64_t area = domain_.put(vcpu_runstate_info{99, 0, {}});
  EXPECT_EQ(vcpu_op(VCPUOP_register_runstate_memory_area, area), 0);
  EXPECT_EQ(domain_.get<vcpu_runstate_info>(area).state, RUNSTATE_running);
  EXPECT_EQ(vcpu_op(VCPUOP_register_runstate_memory_area, kNowhere), 0);

  domain_.info().time.system_time = 4711;
  const uint64_t time = domain_.put(vcpu_time_info{});
  EXPECT_EQ(vcpu_op(VCPUOP_register_vcpu_time_memory_area, time), 0);
  EXPECT_EQ(domain_.get<vcpu_time_info>(time).system_time, 4711u);
}

// --- event_channel_op

TEST_F(ServicesTest, ChannelsAreMadeSeenAndClosed) {
  evtchn_alloc_unbound alloc{.dom = DOMID_SELF, .remote_dom = kDom0, .port = 0};
  ASSERT_EQ(event_op(EVTCHNOP_alloc_unbound, alloc), 0);
  EXPECT_NE(alloc.port, 0u);
  evtchn_status status{};
  status.dom = DOMID_SELF;
  status.port = alloc.port;
  ASSERT_EQ(event_op(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, static_cast<uint32_t>(EVTCHNSTAT_unbound));
  EXPECT_EQ(status.u.unbound.dom, kDom0);

  evtchn_bind_virq virq{.virq = VIRQ_TIMER, .vcpu = 0, .port = 0};
  ASSERT_EQ(event_op(EVTCHNOP_bind_virq, virq), 0);
  status.port = virq.port;
  ASSERT_EQ(event_op(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.u.virq, static_cast<uint32_t>(VIRQ_TIMER));
  EXPECT_EQ(event_op(EVTCHNOP_bind_virq, virq), -EEXIST);

  EXPECT_EQ(event_op(EVTCHNOP_close, evtchn_close{alloc.port}), 0);
  EXPECT_EQ(event_op(EVTCHNOP_close, evtchn_close{alloc.port}), -EINVAL);
  EXPECT_EQ(event_op(EVTCHNOP_unmask, evtchn_unmask{virq.port}), 0);
  EXPECT_EQ(event_op(EVTCHNOP_bind_vcpu, evtchn_bind_vcpu{virq.port, 1}), -ENOENT);
}

TEST_F(ServicesTest, DomainBindsToItself) {
  evtchn_alloc_unbound alloc{.dom = DOMID_SELF, .remote_dom = DOMID_SELF, .port = 0};
  ASSERT_EQ(event_op(EVTCHNOP_alloc_unbound, alloc), 0);
  evtchn_bind_interdomain bind{.remote_dom = DOMID_SELF, .remote_port = alloc.port, .local_port = 0};
  ASSERT_EQ(event_op(EVTCHNOP_bind_interdomain, bind), 0);
  EXPECT_EQ(event_op(EVTCHNOP_send, evtchn_send{bind.local_port}), 0);
  evtchn_status status{};
  status.dom = TestDomain::kDomId;
  status.port = bind.local_port;
  ASSERT_EQ(event_op(EVTCHNOP_status, status), 0);
  EXPECT_EQ(status.status, static_cast<uint32_t>(EVTCHNSTAT_interdomain));
  EXPECT_EQ(status.u.interdomain.dom, TestDomain::kDomId);
  EXPECT_EQ(status.u.interdomain.port, alloc.port);
}

TEST_F(ServicesTest, EventOperationsRefuseOtherDomains) {
  EXPECT_EQ(event_op(EVTCHNOP_alloc_unbound, evtchn_alloc_unbound{.dom = 0x7ff5, .remote_dom = 0, .port = 0}), -ESRCH);
  EXPECT_EQ(event_op(EVTCHNOP_bind_interdomain, evtchn_bind_interdomain{0xffff, 1, 0}), -ESRCH);
  EXPECT_EQ(event_op(EVTCHNOP_reset, evtchn_reset{0x7ff1}), -ESRCH);
  EXPECT_EQ(event_op(EVTCHNOP_reset, evtchn_reset{kDom0}), -EPERM);
  EXPECT_EQ(event_op(EVTCHNOP_reset, evtchn_reset{DOMID_SELF}), 0);
  EXPECT_EQ(call(__HYPERVISOR_event_channel_op, 99, TestDomain::kScratch), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, kNowhere), -EFAULT);
}

TEST_F(ServicesTest, FifoIsSetUp) {
  evtchn_init_control control{};
  control.control_gfn = 9;
  ASSERT_EQ(event_op(EVTCHNOP_init_control, control), 0);
  EXPECT_EQ(control.link_bits, EVTCHN_FIFO_LINK_BITS);
  EXPECT_EQ(event_op(EVTCHNOP_expand_array, evtchn_expand_array{10}), 0);
  EXPECT_EQ(event_op(EVTCHNOP_expand_array, evtchn_expand_array{~0ull}), -EINVAL);
  evtchn_bind_ipi bind{};
  ASSERT_EQ(event_op(EVTCHNOP_bind_ipi, bind), 0);
  EXPECT_EQ(event_op(EVTCHNOP_set_priority, evtchn_set_priority{bind.port, 3}), 0);
  EXPECT_EQ(event_op(EVTCHNOP_set_priority, evtchn_set_priority{bind.port, 16}), -EINVAL);
}

TEST_F(ServicesTest, OldEventOperationIsTheSame) {
  evtchn_op operation{};
  operation.cmd = EVTCHNOP_bind_ipi;
  const uint64_t address = domain_.put(operation);
  EXPECT_EQ(call(__HYPERVISOR_event_channel_op_compat, address), 0);
  EXPECT_NE(domain_.get<evtchn_op>(address).u.bind_ipi.port, 0u);
  EXPECT_EQ(call(__HYPERVISOR_event_channel_op_compat, domain_.put(uint32_t{EVTCHNOP_init_control})), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_event_channel_op_compat, kNowhere), -EFAULT);
}

// --- grant_table_op

TEST_F(ServicesTest, GrantTableIsSetUp) {
  const uint64_t list = domain_.put(std::array<uint64_t, 4>{});
  gnttab_setup_table setup{};
  setup.dom = DOMID_SELF;
  setup.nr_frames = 2;
  setup.frame_list.p = reinterpret_cast<xen_pfn_t*>(list);
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_okay);
  EXPECT_EQ(domain_.get<uint64_t>(list), TestDomain::kRamPages + 1);
  EXPECT_EQ(domain_.get<uint64_t>(list + 8), TestDomain::kRamPages + 2);

  gnttab_query_size size{};
  size.dom = DOMID_SELF;
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, size), 0);
  EXPECT_EQ(size.nr_frames, 2u);
  EXPECT_EQ(size.max_nr_frames, domain::kMaxGrantFrames);

  setup.nr_frames = ~0u;
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_general_error);
  setup.nr_frames = 1;
  setup.frame_list.p = reinterpret_cast<xen_pfn_t*>(kNowhere);
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, setup), -EFAULT);
  setup.dom = 8;
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_permission_denied);
  setup.dom = 0x7ff5;
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, setup), 0);
  EXPECT_EQ(setup.status, GNTST_bad_domain);
}

TEST_F(ServicesTest, GrantTablesAreOfVersionOne) {
  gnttab_get_version get{};
  get.dom = DOMID_SELF;
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_get_version, get), 0);
  EXPECT_EQ(get.version, 1u);
  gnttab_set_version set{.version = 1};
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, set), 0);
  set.version = 2;
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, set), -ENOSYS);
  EXPECT_EQ(set.version, 1u);
  set.version = 3;
  EXPECT_EQ(operate(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, set), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_grant_table_op, GNTTABOP_get_version, TestDomain::kScratch, 2), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, TestDomain::kScratch, 1), -ENOSYS);
}

// --- xen_version, console_io, vm_assist, physdev_op

TEST_F(ServicesTest, VersionIsThatOfTheAbiThatIsImitated) {
  EXPECT_EQ(call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
  xen_extraversion_t extra = {};
  const uint64_t text = domain_.put(std::array<char, 2048>{});
  EXPECT_EQ(call(__HYPERVISOR_xen_version, XENVER_extraversion, text), 0);
  ASSERT_TRUE(domain_.memory.copy_in(text, extra, sizeof extra));
  EXPECT_STREQ(extra, "-xenopolis");
  EXPECT_EQ(call(__HYPERVISOR_xen_version, XENVER_capabilities, text), 0);
  EXPECT_EQ((domain_.get<std::array<char, 15>>(text)),
            (std::array{'x', 'e', 'n', '-', '3', '.', '0', '-', 'x', '8', '6', '_', '6', '4', ' '}));
  for (const uint64_t command :
       {XENVER_compile_info, XENVER_changeset, XENVER_guest_handle, XENVER_commandline, XENVER_platform_parameters}) {
    EXPECT_EQ(call(__HYPERVISOR_xen_version, command, text), 0) << command;
    EXPECT_EQ(call(__HYPERVISOR_xen_version, command, kNowhere), -EFAULT) << command;
  }
  EXPECT_EQ(domain_.get<uint64_t>(text), HYPERVISOR_VIRT_START);
  domain::record_of(TestDomain::kDomId).configuration.uuid[15] = 42;
  EXPECT_EQ(call(__HYPERVISOR_xen_version, XENVER_guest_handle, text), 0);
  EXPECT_EQ((domain_.get<std::array<uint8_t, 16>>(text)[15]), 42);
  EXPECT_EQ(call(__HYPERVISOR_xen_version, XENVER_pagesize, 0), 4096);
  EXPECT_EQ(call(__HYPERVISOR_xen_version, XENVER_build_id, text), -EPERM);
  EXPECT_EQ(call(__HYPERVISOR_xen_version, 11, text), -ENOSYS);
}

TEST_F(ServicesTest, FeaturesTellPagedDomainsFromFlatOnes) {
  xen_feature_info info{};
  EXPECT_EQ(operate(__HYPERVISOR_xen_version, XENVER_get_features, info), 0);
  EXPECT_EQ(info.submap, 1u << XENFEAT_pae_pgdir_above_4gb | 1u << XENFEAT_mmu_pt_update_preserve_ad |
                             1u << XENFEAT_gnttab_map_avail_bits);
  info.submap_idx = 1;
  EXPECT_EQ(operate(__HYPERVISOR_xen_version, XENVER_get_features, info), -EINVAL);
}

TEST(FlatServicesTest, FlatDomainIsToldThatItHasNoPageTables) {
  TestDomain domain(TestDomain::Kind::kFlat);
  const uint64_t info = domain.put(xen_feature_info{});
  EXPECT_EQ(domain.call(__HYPERVISOR_xen_version, XENVER_get_features, info), 0);
  EXPECT_EQ(domain.get<xen_feature_info>(info).submap,
            1u << XENFEAT_auto_translated_physmap | 1u << XENFEAT_writable_page_tables);
}

TEST_F(ServicesTest, ConsoleTextReachesTheLogWithoutControlSequences) {
  const std::array<char, 8> text{'h', 'i', '\n', '\x1b', '[', '1', 'm', '\0'};
  EXPECT_EQ(call(__HYPERVISOR_console_io, CONSOLEIO_write, text.size(), domain_.put(text)), 0);
  EXPECT_EQ(domain_.console, "hi\n.[1m.");
  EXPECT_EQ(call(__HYPERVISOR_console_io, CONSOLEIO_write, 4097, TestDomain::kScratch), -E2BIG);
  EXPECT_EQ(call(__HYPERVISOR_console_io, CONSOLEIO_write, ~0ull, TestDomain::kScratch), -E2BIG);
  EXPECT_EQ(call(__HYPERVISOR_console_io, CONSOLEIO_write, 10, kNowhere), -EFAULT);
  EXPECT_EQ(call(__HYPERVISOR_console_io, CONSOLEIO_read, 10, TestDomain::kScratch), 0);
  EXPECT_EQ(call(__HYPERVISOR_console_io, 2), -ENOSYS);
}

TEST_F(ServicesTest, AssistsAndPhysicalDevices) {
  EXPECT_EQ(call(__HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables), 0);
  EXPECT_EQ(call(__HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag), 0);
  EXPECT_EQ(call(__HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_architectural_iopl), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_vm_assist, VMASST_CMD_enable, 63), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_vm_assist, 2, 0), -ENOSYS);
  EXPECT_EQ(call(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, domain_.put(physdev_set_iopl{3})), 0);
  EXPECT_EQ(call(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, domain_.put(physdev_set_iopl{4})), -EINVAL);
  physdev_set_iobitmap bitmap{};
  bitmap.nr_ports = 65537;
  EXPECT_EQ(call(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iobitmap, domain_.put(bitmap)), -EINVAL);
  EXPECT_EQ(call(__HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, TestDomain::kScratch), -ENOSYS);
}

}  // namespace
}  // namespace xenopolis::hypercall
