// Exceptions: the handler sees the right vector, error code and address, and the guest goes on where it says.
#include "runtime/traps.h"
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "page_fault";

namespace {

using traps::TrapFrame;

// The page that is taken away and given back.
alignas(kPageSize) [[gnu::section(".bss..pages")]] volatile uint64_t victim[kPageSize / sizeof(uint64_t)];

// What the last exception was; and what to do about it.
volatile uint64_t last_vector, last_code, last_address, last_rip, count;
volatile uint64_t resume;        // where to go on; 0: where it happened
volatile uint64_t repair_entry;  // the victim's new page-table entry

const void* victim_page() {
  return const_cast<const uint64_t*>(victim);
}

uint64_t entry_with(uint64_t flags) {
  return domain::gfn_of(victim_page()) << kPageShift | flags;
}

void set_victim(uint64_t entry) {
  EXPECT_EQ(update_va_mapping(victim_page(), entry, UVMF_INVLPG | UVMF_LOCAL), 0);
}

void handle(TrapFrame& frame) {
  last_vector = frame.vector;
  last_code = frame.error_code;
  last_rip = frame.rip;
  last_address = domain::vcpu().arch.cr2;
  count = count + 1;
  if (count > 1000) fail(__FILE_NAME__, __LINE__, "exceptions end");
  if (frame.vector == traps::kPageFault && repair_entry != 0) {
    set_victim(repair_entry);
  } else if (resume != 0) {
    frame.rip = resume;
  }
}

void expect_fault(uint64_t code, uint64_t before) {
  EXPECT_EQ(count, before + 1);
  EXPECT_EQ(last_vector, traps::kPageFault);
  EXPECT_EQ(last_code, code);
  EXPECT_EQ(last_address, reinterpret_cast<uintptr_t>(victim) + 8);
}

// Error codes as the guest's kernel gets them: the user bit (4) tells guest user mode from guest kernel mode, not
// what the CPU ran at.
constexpr uint64_t kNotPresent = 0, kPresent = 1, kWrite = 2;

void expect_page_faults() {
  victim[1] = 0x1234;
  for (unsigned i = 0; i < 20; ++i) {
    uint64_t before = count;
    set_victim(0);
    repair_entry = entry_with(domain::kReadWritePage);
    EXPECT_EQ(victim[1], 0x1234);
    expect_fault(kNotPresent, before);

    before = count;
    set_victim(0);
    victim[1] = 0x1234;
    expect_fault(kNotPresent | kWrite, before);

    before = count;
    set_victim(entry_with(domain::kReadOnlyPage));
    EXPECT_EQ(victim[1], 0x1234);
    EXPECT_EQ(count, before);
    victim[1] = 0x1234;
    expect_fault(kPresent | kWrite, before);
  }

  // Another frame behind the same address: no stale translation.
  repair_entry = 0;
  uint64_t before = count;
  for (unsigned i = 0; i < 20; ++i) {
    set_victim(domain::gfn_of(image_base) << kPageShift | domain::kReadOnlyPage);
    EXPECT_EQ(victim[1], *reinterpret_cast<volatile uint64_t*>(image_base + 8));
    set_victim(entry_with(domain::kReadWritePage));
    EXPECT_EQ(victim[1], 0x1234);
  }
  EXPECT_EQ(count, before);
}

// Runs one instruction that must raise `vector` and goes on behind it, `at` being the expected rip.
#define EXPECT_EXCEPTION(number, instruction, offset) \
  do {                                                \
    uint64_t before_count = count, at;                \
    asm volatile(                                     \
        "lea 1f(%%rip), %0\n\t"                       \
        "lea 2f(%%rip), %%rax\n\t"                    \
        "mov %%rax, %1\n\t"                           \
        "xor %%eax, %%eax\n\t"                        \
        "xor %%edx, %%edx\n\t"                        \
        "xor %%ecx, %%ecx\n\t"                        \
        "1: " instruction                             \
        "\n\t"                                        \
        "2:"                                          \
        : "=&r"(at), "=m"(resume)                     \
        :                                             \
        : "rax", "rcx", "rdx", "memory");             \
    EXPECT_EQ(count, before_count + 1);               \
    EXPECT_EQ(last_vector, number);                   \
    EXPECT_EQ(last_rip, at + (offset));               \
    resume = 0;                                       \
  } while (0)

void expect_other_exceptions() {
  EXPECT_EXCEPTION(traps::kDivideError, "div %%ecx", 0);
  EXPECT_EXCEPTION(traps::kInvalidOpcode, "ud2", 0);
  // A trap: rip is behind the instruction.
  EXPECT_EXCEPTION(traps::kBreakpoint, "int3", 1);
  EXPECT_EXCEPTION(traps::kGeneralProtection, "hlt", 0);
  EXPECT_EQ(last_code, 0);
  EXPECT_EXCEPTION(traps::kGeneralProtection, "ltr %%cx", 0);
}

}  // namespace

void test() {
  need_page_tables();
  EXPECT_EQ(traps::start(handle), 0);
  expect_page_faults();
  expect_other_exceptions();
}

}  // namespace xenopolis::guest
