#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>

#include "machine/machine.h"
#include "vcpu/backend.h"
#include "vcpu/hosted/boundary.h"

// Guest programs: position-independent, copied to guest frame 1; the hypercall page is frame 0. RBX has its address.
asm(R"(
    .pushsection .rodata
guest_hypercall:
    mov $0x1111, %edi
    mov $0x2222, %esi
    lea 29*32(%rbx), %rax
    std
    call *%rax
    cld
    mov %rax, %r15
    lea 18*32(%rbx), %rax
    call *%rax
guest_spin:
    mov $0xaa, %eax
    mov $0xcc, %ecx
    mov $0xdd, %edx
    mov $0xd1, %edi
    mov $0xb0, %ebp
    mov $0x88, %r8d
    mov $0x99, %r9d
    mov $0x1010, %r10d
    mov $0x1111, %r11d
    mov $0xabcdef, %r12d
    mov $0x1414, %r14d
    mov $0x1515, %r15d
    movb $1, (%rsi)
1:  inc %r13
    jmp 1b
guest_page_fault:
    movabs $0x123456789, %rax
guest_page_fault_here:
    movl $1, (%rax)
guest_divide:
    xor %edx, %edx
    xor %ecx, %ecx
    mov $1, %eax
    div %ecx
guest_undefined:
    ud2
guest_breakpoint:
    int3
guest_privileged:
    hlt
guest_bad_stack:
    movabs $0x8000000000000000, %rax
    mov %rax, %rsp
    push %rax
guest_stray_jump:
    mov $0x1000, %eax
    jmp *%rax
guest_trap_flag:
    pushfq
    orl $0x100, (%rsp)
    popfq
    nop
guest_iret:
    mov $0x77, %eax
    mov $0x88, %ecx
    mov $0x99, %r11d
    push %rbx
    addq $23*32, (%rsp)
    ret
guest_end:
    .popsection
)");

extern "C" {
[[gnu::visibility("hidden")]] extern const uint8_t guest_hypercall[], guest_spin[], guest_page_fault[],
    guest_page_fault_here[], guest_divide[], guest_undefined[], guest_breakpoint[], guest_privileged[],
    guest_bad_stack[], guest_stray_jump[], guest_trap_flag[], guest_iret[], guest_end[];
}

namespace xenopolis::vcpu {
namespace {

using ::testing::ElementsAre;

class HostedTest : public testing::Test {
 protected:
  HostedTest()
      : machine_(machine::Machine::create(40 * machine::kGiB).value()), backend_(create_hosted_backend().value()) {
    memory_.ram_pages = 16;
    memory_.extent = machine_.frames().allocate_extent(32).value();
    std::memcpy(memory_.page(1), guest_hypercall, static_cast<size_t>(guest_end - guest_hypercall));
    built_.virtual_base = address(0);
    built_.hypercall_page = address(0);
    built_.stack = address(4);
    built_.entry = address(1);
    vcpu_ = backend_->create_vcpu(state_, memory_, built_).value();
  }

  uint64_t address(Gfn gfn) const { return reinterpret_cast<uint64_t>(memory_.page(gfn)); }
  void start_at(const uint8_t* program) {
    state_.registers.rip = address(1) + static_cast<uint64_t>(program - guest_hypercall);
    state_.registers.rbx = address(0);
  }
  Exit run(const uint8_t* program) {
    start_at(program);
    return vcpu_->run(state_);
  }

  machine::Machine machine_;
  std::unique_ptr<Backend> backend_;
  machine::DomainMemory memory_;
  builder::BuiltDomain built_;
  domain::PvVcpu state_;
  std::unique_ptr<Vcpu> vcpu_;
};

TEST_F(HostedTest, HypercallExitsWithAllRegistersAndComesBackWithTheAnswer) {
  state_.registers.rbp = 0x4444;
  state_.registers.r14 = 0x5555;
  Exit exit = run(guest_hypercall);
  ASSERT_EQ(exit.reason, ExitReason::kHypercall);
  EXPECT_EQ(state_.registers.rax, 29u);
  EXPECT_EQ(state_.registers.rdi, 0x1111u);
  EXPECT_EQ(state_.registers.rsi, 0x2222u);
  EXPECT_EQ(state_.registers.rbp, 0x4444u);
  EXPECT_EQ(state_.registers.r14, 0x5555u);
  EXPECT_EQ(state_.registers.rsp, address(4) - 8);
  EXPECT_NE(state_.registers.rflags & 0x400, 0u) << "the direction flag is the guest's";

  state_.registers.rax = 0xfedcba9876543210;
  exit = vcpu_->run(state_);
  ASSERT_EQ(exit.reason, ExitReason::kHypercall);
  EXPECT_EQ(state_.registers.rax, 18u);
  EXPECT_EQ(state_.registers.r15, 0xfedcba9876543210);
}

TEST_F(HostedTest, IretEntryPushesTheThreeRegistersOfIretContext) {
  ASSERT_EQ(run(guest_iret).reason, ExitReason::kHypercall);
  EXPECT_EQ(state_.registers.rax, static_cast<uint64_t>(__HYPERVISOR_iret));
  iret_context frame{};
  ASSERT_TRUE(vcpu_->memory().copy_in(state_.registers.rsp, &frame, 24));
  EXPECT_EQ(frame.rax, 0x77u);
  EXPECT_EQ(frame.rcx, 0x88u);
  EXPECT_EQ(frame.r11, 0x99u);
}

TEST_F(HostedTest, KickInterruptsASpinningGuestWhichThenGoesOn) {
  auto* started = reinterpret_cast<std::atomic<uint8_t>*>(memory_.page(5));
  state_.registers.rsi = address(5);
  const auto tid = static_cast<pid_t>(syscall(SYS_gettid));
  uint64_t counted = 0;
  for (int i = 0; i < 50; ++i) {
    started->store(0);
    std::thread kicker([&] {
      while (started->load() == 0) std::this_thread::yield();
      syscall(SYS_tgkill, getpid(), tid, machine::Doorbells::kick_signal());
    });
    const Exit exit = run(guest_spin);
    kicker.join();
    ASSERT_EQ(exit.reason, ExitReason::kInterrupted);
    const domain::Registers& r = state_.registers;
    EXPECT_THAT((std::array{r.rax, r.rcx, r.rdx, r.rdi, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r14, r.r15}),
                ElementsAre(0xaa, 0xcc, 0xdd, 0xd1, 0xb0, 0x88, 0x99, 0x1010, 0x1111, 0xabcdef, 0x1414, 0x1515));
    EXPECT_EQ(r.rbx, address(0));
    EXPECT_EQ(r.rsi, address(5));
    EXPECT_EQ(r.rsp, address(4));
    EXPECT_GE(state_.registers.r13, counted);
    counted = state_.registers.r13;
  }
  EXPECT_GT(counted, 0u);
}

TEST_F(HostedTest, KickBeforeTheEntryIsNotLost) {
  ASSERT_EQ(run(guest_undefined).reason, ExitReason::kTrap);  // this thread is the runner from here on
  start_at(guest_spin);
  const domain::Registers before = state_.registers;
  raise(machine::Doorbells::kick_signal());
  ASSERT_EQ(vcpu_->run(state_).reason, ExitReason::kInterrupted);
  EXPECT_EQ(state_.registers.rip, before.rip) << "nothing was run";
}

// Kicks at whatever instruction of entry, guest and exit they hit: none may be lost (the guest would spin on for ever)
// and none may change a register.
TEST_F(HostedTest, KicksAtAnyInstructionNeitherLoseNorDisturbAnything) {
  ASSERT_EQ(run(guest_undefined).reason, ExitReason::kTrap);
  // A timer rather than a thread, so that the kicks come while this thread runs, however busy the machine is.
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = machine::Doorbells::kick_signal();
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  timer_t timer{};
  ASSERT_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  constexpr timespec kInterval{.tv_sec = 0, .tv_nsec = 23'017};
  const itimerspec interval{.it_interval = kInterval, .it_value = kInterval};
  ASSERT_EQ(timer_settime(timer, 0, &interval, nullptr), 0);
  for (uint64_t i = 0; i < 2'000; ++i) {
    state_.registers.rsi = address(5);
    ASSERT_EQ(run(guest_spin).reason, ExitReason::kInterrupted);
    for (uint64_t j = 0; j < 20; ++j) {
      state_.registers.r14 = i + j;
      state_.registers.rsp = address(4);
      Exit exit = run(guest_hypercall);
      while (exit.reason == ExitReason::kInterrupted) exit = vcpu_->run(state_);
      ASSERT_EQ(exit.reason, ExitReason::kHypercall);
      ASSERT_EQ(state_.registers.rax, 29u);
      ASSERT_EQ(state_.registers.r14, i + j);
      ASSERT_EQ(state_.registers.rsp, address(4) - 8);
    }
  }
  timer_delete(timer);
}

TEST_F(HostedTest, FaultsOfTheGuestAreTrapsWithXensVectors) {
  Exit exit = run(guest_page_fault);
  ASSERT_EQ(exit.reason, ExitReason::kTrap);
  EXPECT_EQ(exit.vector, 14);
  EXPECT_TRUE(exit.has_error_code);
  EXPECT_EQ(exit.error_code & 7, 6u) << "a write from user mode to a page that is not present";
  EXPECT_EQ(exit.fault_address, 0x123456789u);
  EXPECT_EQ(state_.registers.rip, address(1) + static_cast<uint64_t>(guest_page_fault_here - guest_hypercall));

  EXPECT_EQ(run(guest_divide).vector, 0);
  EXPECT_EQ(run(guest_undefined).vector, 6);
  EXPECT_FALSE(run(guest_undefined).has_error_code);
  EXPECT_EQ(run(guest_breakpoint).vector, 3);
  EXPECT_EQ(run(guest_privileged).vector, 13);
  EXPECT_EQ(run(guest_bad_stack).vector, 12);
  state_.registers.rsp = address(4);
  exit = run(guest_stray_jump);
  EXPECT_EQ(exit.vector, 14);
  EXPECT_EQ(exit.fault_address, 0x1000u);
  EXPECT_EQ(run(guest_trap_flag).vector, 1);
}

TEST_F(HostedTest, InstructionPointerThatIsNotCanonicalIsTheGuestsFault) {
  state_.registers.rip = 0x8000'0000'0000'0000;
  const Exit exit = vcpu_->run(state_);
  ASSERT_EQ(exit.reason, ExitReason::kTrap);
  EXPECT_EQ(exit.vector, 13);
  EXPECT_EQ(state_.registers.rip, 0x8000'0000'0000'0000);
}

// Runs `body` in a child after it has run a guest; true if that killed it (sanitizers make it an exit status).
template <class Run, class Body>
bool kills_the_process(Run run, Body body) {
  const pid_t child = fork();
  if (child == 0) {
    run();
    body();
    _exit(0);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && (WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

TEST_F(HostedTest, OwnCrashIsStillACrash) {
  const auto guest_faults = [this] { run(guest_page_fault); };
  EXPECT_FALSE(kills_the_process(guest_faults, [] {}));
  EXPECT_TRUE(kills_the_process(guest_faults, [] { raise(SIGSEGV); }));
  EXPECT_TRUE(kills_the_process(guest_faults, [] {
    volatile uintptr_t nowhere = 8;
    *reinterpret_cast<volatile int*>(nowhere) = 1;
  }));
}

TEST_F(HostedTest, GuestMemoryIsTheExtentAndNothingElse) {
  hypercall::GuestMemory& memory = vcpu_->memory();
  uint64_t value = 42;
  const uint64_t end = address(0) + memory_.extent.size();
  EXPECT_TRUE(memory.write(address(15), value));
  EXPECT_TRUE(memory.read(end - 8, value));
  EXPECT_FALSE(memory.read(end - 7, value));
  EXPECT_FALSE(memory.read(address(0) - 1, value));
  EXPECT_FALSE(memory.read(~0ull - 3, value));
  EXPECT_FALSE(memory.copy_in(address(0), &value, ~0ull));
  EXPECT_FALSE(memory.write(reinterpret_cast<uint64_t>(&value), value));
}

TEST_F(HostedTest, SecondHostedBackendInOneProcessIsRefused) {
  const auto second = create_hosted_backend();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EBUSY);
}

TEST_F(HostedTest, MemoryIsDataAgainWhenTheVcpuIsGone) {
  vcpu_.reset();
  built_.hypercall_page = address(0);
  auto other = backend_->create_vcpu(state_, memory_, built_).value();
  EXPECT_EQ((start_at(guest_undefined), other->run(state_).vector), 6);
  other.reset();
  memory_.page(2)[0] = 1;
}

TEST_F(HostedTest, ImageWithoutHypercallPageIsRefused) {
  built_.hypercall_page.reset();
  EXPECT_EQ(backend_->create_vcpu(state_, memory_, built_).error().code, ENOEXEC);
  built_.hypercall_page = address(31) + 8;
  EXPECT_EQ(backend_->create_vcpu(state_, memory_, built_).error().code, EINVAL);
}

}  // namespace
}  // namespace xenopolis::vcpu
