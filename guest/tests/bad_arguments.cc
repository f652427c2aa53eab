// Wild pointers, ports, domains and operations, given to every hypercall: each is refused with the errno that Xen gives
// (where Xen's own differs between versions or needs a privilege: refused at all), and the guest lives on.
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "bad_arguments";

namespace {

constexpr uint32_t kWildPort = 0xffffffff;
constexpr uint32_t kFarPort = 131'071;  // in range for FIFO, never bound here
constexpr domid_t kNoDomain = 0x7eee;
constexpr unsigned kNoVcpu = 99;
constexpr unsigned kNoOperation = 0x4242;

constexpr unsigned kWildPointers = 9;

// Hypervisor's and nobody's memory, not canonical, wrapping, over the edges of the guest's.
uint64_t wild_pointer(unsigned i) {
  auto begin = reinterpret_cast<uintptr_t>(image_base);
  uint64_t end = begin + domain_self.info->nr_pages * kPageSize;
  const uint64_t list[kWildPointers] = {0, 0x8, 0xffff'8000'0000'0000, 0xffff'8080'0000'1000, 0x8000'0000'0000'0000,
                                        0xffff'ffff'ffff'fffd, 0x0000'7fff'ffff'fffe, begin - 2,
                                        // Without page tables shared_info stands behind the RAM.
                                        domain::auto_translated() ? 0 : end - 2};
  return list[i];
}

#define EXPECT_REFUSED(call) EXPECT((call) < 0)
#define EXPECT_ERROR(call, reason) EXPECT_EQ(call, -(reason))

void expect_pointers_refused() {
  for (unsigned i = 0; i < kWildPointers; ++i) {
    uint64_t wild = wild_pointer(i);
    auto* pointer = reinterpret_cast<void*>(wild);
    for (unsigned command : {EVTCHNOP_bind_interdomain, EVTCHNOP_bind_virq, EVTCHNOP_close, EVTCHNOP_send,
                             EVTCHNOP_status, EVTCHNOP_alloc_unbound, EVTCHNOP_bind_ipi, EVTCHNOP_bind_vcpu,
                             EVTCHNOP_unmask, EVTCHNOP_init_control, EVTCHNOP_expand_array, EVTCHNOP_set_priority}) {
      EXPECT_ERROR(event_channel_op(command, pointer), XEN_EFAULT);
    }
    EXPECT_ERROR(sched_op(SCHEDOP_poll, pointer), XEN_EFAULT);
    EXPECT_ERROR(sched_op(SCHEDOP_shutdown, pointer), XEN_EFAULT);
    EXPECT_ERROR(vcpu_op(VCPUOP_set_singleshot_timer, 0, pointer), XEN_EFAULT);
    EXPECT_ERROR(xen_version(XENVER_get_features, pointer), XEN_EFAULT);
    EXPECT_ERROR(xen_version(XENVER_extraversion, pointer), XEN_EFAULT);
    EXPECT_ERROR(grant_table_op(GNTTABOP_setup_table, pointer, 1), XEN_EFAULT);
    EXPECT_REFUSED(grant_table_op(GNTTABOP_map_grant_ref, pointer, 1));
    EXPECT_ERROR(hypercall<__HYPERVISOR_multicall>(wild, 3), XEN_EFAULT);
    EXPECT_REFUSED(hypercall<__HYPERVISOR_multicall>(wild, 0xffffffff));
    EXPECT_ERROR(hypercall<__HYPERVISOR_callback_op>(CALLBACKOP_register, wild), XEN_EFAULT);
    EXPECT_REFUSED(memory_op(XENMEM_memory_map, pointer));
    // Xen's answer is how many extents were done.
    EXPECT(memory_op(XENMEM_populate_physmap, pointer) <= 0);
    if (wild != 0) EXPECT_ERROR(hypercall<__HYPERVISOR_set_trap_table>(wild), XEN_EFAULT);
    EXPECT_REFUSED(hypercall<__HYPERVISOR_mmu_update>(wild, 1, uint64_t{0}, DOMID_SELF));
    EXPECT_REFUSED(hypercall<__HYPERVISOR_mmuext_op>(wild, 1, uint64_t{0}, DOMID_SELF));
    EXPECT_REFUSED(hypercall<__HYPERVISOR_set_gdt>(wild, 512));
  }
  // A good argument that leads to a wild list.
  for (unsigned i = 0; i < kWildPointers; ++i) {
    sched_poll_t poll{};
    set_xen_guest_handle(poll.ports, reinterpret_cast<Port*>(wild_pointer(i)));
    poll.nr_ports = 1;
    poll.timeout = 1;
    EXPECT_ERROR(sched_op(SCHEDOP_poll, &poll), XEN_EFAULT);
  }
}

void expect_operations_refused() {
  uint64_t argument[16] = {};
  EXPECT_ERROR(event_channel_op(kNoOperation, argument), XEN_ENOSYS);
  EXPECT_ERROR(sched_op(kNoOperation, argument), XEN_ENOSYS);
  EXPECT_ERROR(vcpu_op(kNoOperation, 0, argument), XEN_ENOSYS);
  EXPECT_ERROR(grant_table_op(0x3f, argument, 1), XEN_ENOSYS);
  EXPECT_ERROR(memory_op(0x3f, argument), XEN_ENOSYS);
  EXPECT_ERROR(xen_version(kNoOperation, argument), XEN_ENOSYS);
  EXPECT_ERROR(hypercall<__HYPERVISOR_callback_op>(kNoOperation, argument), XEN_ENOSYS);
  EXPECT_REFUSED(hypercall<__HYPERVISOR_vm_assist>(kNoOperation, 0));
  EXPECT_REFUSED(hypercall<__HYPERVISOR_physdev_op>(kNoOperation, argument));
  EXPECT_REFUSED(hypercall<__HYPERVISOR_set_segment_base>(77, 0));
  // Those of the tools and of Dom0.
  EXPECT_REFUSED(hypercall<__HYPERVISOR_domctl>(argument));
  EXPECT_REFUSED(hypercall<__HYPERVISOR_sysctl>(argument));
  EXPECT_REFUSED(hypercall<__HYPERVISOR_platform_op>(argument));
}

void expect_ports_refused() {
  for (Port port : {Port{0}, kFarPort, kWildPort}) {
    EXPECT_ERROR(events::send(port), XEN_EINVAL);
    EXPECT_ERROR(events::close(port), XEN_EINVAL);
    EXPECT_REFUSED(events::set_priority(port, EVTCHN_FIFO_PRIORITY_DEFAULT));
    evtchn_status_t status{.dom = DOMID_SELF, .port = port, .status = 0, .vcpu = 0, .u = {}};
    // Port 0 exists and is reserved; the others are not there.
    if (port != 0) EXPECT_ERROR(event_channel_op(EVTCHNOP_status, &status), XEN_EINVAL);
    evtchn_bind_vcpu_t vcpu{.port = port, .vcpu = 0};
    EXPECT_REFUSED(event_channel_op(EVTCHNOP_bind_vcpu, &vcpu));
    evtchn_bind_interdomain_t interdomain{.remote_dom = DOMID_SELF, .remote_port = port, .local_port = 0};
    EXPECT_ERROR(event_channel_op(EVTCHNOP_bind_interdomain, &interdomain), XEN_EINVAL);
  }
  evtchn_unmask_t unmask{.port = kWildPort};
  EXPECT_ERROR(event_channel_op(EVTCHNOP_unmask, &unmask), XEN_EINVAL);

  // Another's doors: a channel of Dom0 that does not wait for us.
  evtchn_bind_interdomain_t dom0{.remote_dom = kDom0, .remote_port = kFarPort, .local_port = 0};
  EXPECT_ERROR(event_channel_op(EVTCHNOP_bind_interdomain, &dom0), XEN_EINVAL);
  evtchn_bind_interdomain_t nobody{.remote_dom = kNoDomain, .remote_port = 1, .local_port = 0};
  EXPECT_ERROR(event_channel_op(EVTCHNOP_bind_interdomain, &nobody), XEN_ESRCH);
  evtchn_alloc_unbound_t foreign{.dom = kDom0, .remote_dom = DOMID_SELF, .port = 0};
  EXPECT_REFUSED(event_channel_op(EVTCHNOP_alloc_unbound, &foreign));

  evtchn_bind_virq_t virq{.virq = NR_VIRQS + 1, .vcpu = 0, .port = 0};
  EXPECT_ERROR(event_channel_op(EVTCHNOP_bind_virq, &virq), XEN_EINVAL);
  virq = {.virq = VIRQ_TIMER, .vcpu = kNoVcpu, .port = 0};
  EXPECT_ERROR(event_channel_op(EVTCHNOP_bind_virq, &virq), XEN_ENOENT);
  virq = {.virq = VIRQ_TIMER, .vcpu = 0, .port = 0};
  EXPECT(timer_port() != 0);
  EXPECT_ERROR(event_channel_op(EVTCHNOP_bind_virq, &virq), XEN_EEXIST);
  evtchn_bind_ipi_t ipi{.vcpu = kNoVcpu, .port = 0};
  EXPECT_ERROR(event_channel_op(EVTCHNOP_bind_ipi, &ipi), XEN_ENOENT);
  evtchn_bind_vcpu_t vcpu{.port = timer_port(), .vcpu = kNoVcpu};
  EXPECT_ERROR(event_channel_op(EVTCHNOP_bind_vcpu, &vcpu), XEN_ENOENT);

  static Port many[200];
  sched_poll_t poll{};
  set_xen_guest_handle(poll.ports, many);
  poll.timeout = 1;
  poll.nr_ports = 200;
  EXPECT_ERROR(sched_op(SCHEDOP_poll, &poll), XEN_EINVAL);
  poll.nr_ports = 0xffffffff;
  EXPECT_ERROR(sched_op(SCHEDOP_poll, &poll), XEN_EINVAL);
  many[0] = kWildPort;
  poll.nr_ports = 1;
  EXPECT_ERROR(sched_op(SCHEDOP_poll, &poll), XEN_EINVAL);
}

void expect_fifo_setup_refused() {
  evtchn_init_control_t control{.control_gfn = 0, .offset = 0, .vcpu = kNoVcpu, .link_bits = 0, ._pad = {}};
  EXPECT_REFUSED(event_channel_op(EVTCHNOP_init_control, &control));
  control = {.control_gfn = ~uint64_t{0} >> kPageShift, .offset = 0, .vcpu = 0, .link_bits = 0, ._pad = {}};
  EXPECT_REFUSED(event_channel_op(EVTCHNOP_init_control, &control));
  // Not aligned, and over the end of the page.
  control = {.control_gfn = 1, .offset = 3, .vcpu = 0, .link_bits = 0, ._pad = {}};
  EXPECT_REFUSED(event_channel_op(EVTCHNOP_init_control, &control));
  control = {.control_gfn = 1, .offset = 4096 - 16, .vcpu = 0, .link_bits = 0, ._pad = {}};
  EXPECT_REFUSED(event_channel_op(EVTCHNOP_init_control, &control));
  control = {.control_gfn = 1, .offset = 0xfffffff8, .vcpu = 0, .link_bits = 0, ._pad = {}};
  EXPECT_REFUSED(event_channel_op(EVTCHNOP_init_control, &control));
  for (uint64_t gfn : {~uint64_t{0}, ~uint64_t{0} >> kPageShift, uint64_t{domain_self.info->nr_pages} + 0x100000}) {
    evtchn_expand_array_t expand{.array_gfn = gfn};
    EXPECT_REFUSED(event_channel_op(EVTCHNOP_expand_array, &expand));
  }
}

void expect_vcpus_refused() {
  EXPECT_ERROR(vcpu_op(VCPUOP_is_up, kNoVcpu, nullptr), XEN_ENOENT);
  EXPECT_ERROR(vcpu_op(VCPUOP_stop_singleshot_timer, 0xffffffff, nullptr), XEN_ENOENT);
  vcpu_register_vcpu_info_t info{.mfn = 1, .offset = kPageSize - 8, .rsvd = 0};
  EXPECT_REFUSED(vcpu_op(VCPUOP_register_vcpu_info, 0, &info));
  info = {.mfn = ~uint64_t{0} >> kPageShift, .offset = 0, .rsvd = 0};
  EXPECT_REFUSED(vcpu_op(VCPUOP_register_vcpu_info, 0, &info));
}

void expect_grants_refused() {
  xen_pfn_t frames[2] = {};
  gnttab_setup_table_t setup{};
  setup.dom = DOMID_SELF;
  setup.nr_frames = 1'000'000;
  set_xen_guest_handle(setup.frame_list, frames);
  // The hypercall works, its status says no.
  EXPECT_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
  EXPECT(setup.status < 0);
  setup.nr_frames = 1;
  setup.dom = kNoDomain;
  setup.status = 0;
  EXPECT_EQ(grant_table_op(GNTTABOP_setup_table, &setup, 1), 0);
  EXPECT(setup.status < 0);
  gnttab_map_grant_ref_t map{};
  map.dom = kNoDomain;
  map.flags = GNTMAP_host_map;
  long answer = grant_table_op(GNTTABOP_map_grant_ref, &map, 1);
  EXPECT(answer < 0 || map.status < 0);
}

void expect_mappings_refused() {
  for (unsigned i = 0; i < kWildPointers - 1; ++i) {
    EXPECT_REFUSED(update_va_mapping(reinterpret_cast<void*>(wild_pointer(i)), 0, 0));
  }
  // A frame beyond the domain's: nobody else's memory shows up.
  uint64_t beyond = uint64_t{domain_self.info->nr_pages + 0x100000} << kPageShift;
  alignas(kPageSize) [[gnu::section(".bss..pages")]] static char page[kPageSize];
  EXPECT_REFUSED(update_va_mapping(page, beyond | domain::kReadWritePage, UVMF_INVLPG));
  mmu_update_t update{.ptr = beyond | MMU_NORMAL_PT_UPDATE, .val = 0};
  EXPECT_REFUSED(hypercall<__HYPERVISOR_mmu_update>(&update, 1, uint64_t{0}, DOMID_SELF));
}

}  // namespace

void test() {
  expect_pointers_refused();
  expect_operations_refused();
  expect_ports_refused();
  expect_fifo_setup_refused();
  expect_vcpus_refused();
  expect_grants_refused();
  if (!domain::auto_translated()) expect_mappings_refused();
}

}  // namespace xenopolis::guest
