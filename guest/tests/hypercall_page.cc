// Hypercalls through the page: what is preserved, and that an unknown number is refused.
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "hypercall_page";

namespace {

// In the order in which hypercall_page.S stores them.
struct Registers {
  uint64_t rax, rbx, rdx, rsi, rdi, rbp, r8, r9, r10, r12, r13, r14, r15;
};

extern "C" void call_with_registers(uint64_t number, const Registers* before, Registers* after);

// A hypercall with `arguments` arguments may change that many argument registers, rax, rcx and r11; nothing else
// (xen/arch-x86/xen-x86_64.h).
long expect_preserved(unsigned number, const uint64_t* arguments, unsigned count) {
  Registers before{.rax = 0,
                   .rbx = 0xb0b0'0001'1111'0001,
                   .rdx = 0xb0b0'0002'1111'0002,
                   .rsi = 0xb0b0'0003'1111'0003,
                   .rdi = 0xb0b0'0004'1111'0004,
                   .rbp = 0xb0b0'0005'1111'0005,
                   .r8 = 0xb0b0'0006'1111'0006,
                   .r9 = 0xb0b0'0007'1111'0007,
                   .r10 = 0xb0b0'0008'1111'0008,
                   .r12 = 0xb0b0'0009'1111'0009,
                   .r13 = 0xb0b0'000a'1111'000a,
                   .r14 = 0xb0b0'000b'1111'000b,
                   .r15 = 0xb0b0'000c'1111'000c};
  uint64_t* slots[] = {&before.rdi, &before.rsi, &before.rdx, &before.r10, &before.r8, &before.r9};
  for (unsigned i = 0; i < count; ++i) *slots[i] = arguments[i];
  Registers after{};
  call_with_registers(number, &before, &after);
  EXPECT_EQ(after.rbx, before.rbx);
  EXPECT_EQ(after.rbp, before.rbp);
  EXPECT_EQ(after.r12, before.r12);
  EXPECT_EQ(after.r13, before.r13);
  EXPECT_EQ(after.r14, before.r14);
  EXPECT_EQ(after.r15, before.r15);
  if (count < 1) EXPECT_EQ(after.rdi, before.rdi);
  if (count < 2) EXPECT_EQ(after.rsi, before.rsi);
  if (count < 3) EXPECT_EQ(after.rdx, before.rdx);
  if (count < 4) EXPECT_EQ(after.r10, before.r10);
  if (count < 5) EXPECT_EQ(after.r8, before.r8);
  EXPECT_EQ(after.r9, before.r9);
  return static_cast<long>(after.rax);
}

long expect_preserved(unsigned number) {
  return expect_preserved(number, nullptr, 0);
}

}  // namespace

void test() {
  const uint64_t version[] = {XENVER_version, 0};
  long xen = expect_preserved(__HYPERVISOR_xen_version, version, 2);
  EXPECT(xen >> 16 >= 4);

  xen_feature_info_t features{.submap_idx = 0, .submap = 0};
  const uint64_t get_features[] = {XENVER_get_features, as_argument(&features)};
  EXPECT_EQ(expect_preserved(__HYPERVISOR_xen_version, get_features, 2), 0);

  const uint64_t yield[] = {SCHEDOP_yield, 0};
  EXPECT_EQ(expect_preserved(__HYPERVISOR_sched_op, yield, 2), 0);

  // One that sleeps, so that another domain may run in between.
  Port ports[] = {timer_port()};
  sched_poll_t poll{};
  set_xen_guest_handle(poll.ports, ports);
  poll.nr_ports = 1;
  poll.timeout = now_ns() + 2'000'000;
  const uint64_t sleep[] = {SCHEDOP_poll, as_argument(&poll)};
  EXPECT_EQ(expect_preserved(__HYPERVISOR_sched_op, sleep, 2), 0);
  EXPECT(now_ns() >= poll.timeout);

  const uint64_t is_up[] = {VCPUOP_is_up, 0, 0};
  EXPECT_EQ(expect_preserved(__HYPERVISOR_vcpu_op, is_up, 3), 1);

  // Numbers that the ABI does not use, from its gaps.
  for (unsigned number : {11u, 43u, 47u, 63u}) EXPECT_EQ(expect_preserved(number), -XEN_ENOSYS);
}

}  // namespace xenopolis::guest
