#include "vcpu/hosted/signals.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>

#include "base/check.h"
#include "machine/doorbell.h"
#include "vcpu/hosted/boundary.h"

// Sanitizers must not instrument what runs in the middle of guest code.
#define XENOPOLIS_IN_HANDLER __attribute__((no_sanitize("address", "thread", "undefined"), no_stack_protector))

namespace xenopolis::vcpu::hosted {
namespace {

// The kernel's own struct sigaction (asm/signal.h of x86). The C library's sigaction() is bypassed because
// ThreadSanitizer's version of it postpones signals to the next library call, which guest code never makes.
struct KernelSigaction {
  void (*handler)(int, siginfo_t*, void*);
  uint64_t flags;
  void (*restorer)();
  uint64_t mask;
};
constexpr uint64_t kSaRestorer = 0x04000000;

constexpr std::array kFaults{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
constexpr size_t kAlternateStackSize = 64 * 1024;

// EFLAGS: trap, direction, nested task, alignment check. What the runner must not inherit from a guest.
constexpr uint64_t kForeignFlags = 1u << 8 | 1u << 10 | 1u << 14 | 1u << 18;

constexpr uint8_t kGeneralProtection = 13;

// Of this process: there is one hosted backend at most.
std::array<KernelSigaction, kFaults.size()> previous_faults;
KernelSigaction previous_kick;
// Read by the handlers: the guest leaves FS alone.
[[gnu::tls_model("initial-exec")]] thread_local bool is_runner_thread = false;
Trap trap;

long raw_sigaction(int signal, const KernelSigaction* action, KernelSigaction* previous) {
  return syscall(SYS_rt_sigaction, signal, action, previous, sizeof(uint64_t));
}

// Without the C library, which sanitizers intercept.
XENOPOLIS_IN_HANDLER inline long raw_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  register long r10 asm("r10") = d;
  asm volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return number;
}

XENOPOLIS_IN_HANDLER inline bool within(greg_t rip, const char* begin, const char* end) {
  return static_cast<uint64_t>(rip) >= reinterpret_cast<uint64_t>(begin) &&
         static_cast<uint64_t>(rip) < reinterpret_cast<uint64_t>(end);
}

XENOPOLIS_IN_HANDLER inline bool entering(greg_t rip) {
  return within(rip, xenopolis_hosted_enter_begin, xenopolis_hosted_enter_end);
}

XENOPOLIS_IN_HANDLER inline bool in_guest(greg_t rip) {
  return xenopolis_hosted_boundary.in_guest != 0 && !entering(rip) &&
         !within(rip, xenopolis_hosted_exit_begin, xenopolis_hosted_exit_end);
}

XENOPOLIS_IN_HANDLER void save_guest(const greg_t* from) {
  domain::Registers& to = *xenopolis_hosted_boundary.registers;
  to.rax = static_cast<uint64_t>(from[REG_RAX]);
  to.rbx = static_cast<uint64_t>(from[REG_RBX]);
  to.rcx = static_cast<uint64_t>(from[REG_RCX]);
  to.rdx = static_cast<uint64_t>(from[REG_RDX]);
  to.rsi = static_cast<uint64_t>(from[REG_RSI]);
  to.rdi = static_cast<uint64_t>(from[REG_RDI]);
  to.rbp = static_cast<uint64_t>(from[REG_RBP]);
  to.rsp = static_cast<uint64_t>(from[REG_RSP]);
  to.r8 = static_cast<uint64_t>(from[REG_R8]);
  to.r9 = static_cast<uint64_t>(from[REG_R9]);
  to.r10 = static_cast<uint64_t>(from[REG_R10]);
  to.r11 = static_cast<uint64_t>(from[REG_R11]);
  to.r12 = static_cast<uint64_t>(from[REG_R12]);
  to.r13 = static_cast<uint64_t>(from[REG_R13]);
  to.r14 = static_cast<uint64_t>(from[REG_R14]);
  to.r15 = static_cast<uint64_t>(from[REG_R15]);
  to.rip = static_cast<uint64_t>(from[REG_RIP]);
  to.rflags = static_cast<uint64_t>(from[REG_EFL]);
}

// sigreturn goes on at `label`, which loads the runner's stack itself.
XENOPOLIS_IN_HANDLER inline void continue_at(greg_t* registers, const char* label) {
  registers[REG_RIP] = reinterpret_cast<greg_t>(label);
  registers[REG_EFL] &= ~static_cast<greg_t>(kForeignFlags);
}

XENOPOLIS_IN_HANDLER void on_kick(int, siginfo_t*, void* context) {
  if (!is_runner_thread) return;
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const greg_t rip = registers[REG_RIP];
  if (entering(rip)) {
    continue_at(registers, xenopolis_hosted_interrupted);
  } else if (in_guest(rip)) {
    save_guest(registers);
    continue_at(registers, xenopolis_hosted_interrupted);
  } else {
    xenopolis_hosted_boundary.kicked = 1;
  }
}

XENOPOLIS_IN_HANDLER void on_fault(int signal, siginfo_t* info, void* context) {
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const greg_t rip = registers[REG_RIP];
  const bool from_cpu = info->si_code > 0;  // else somebody called kill(2)
  if (from_cpu && is_runner_thread) {
    if (entering(rip)) {
      // IRETQ refuses a RIP that is not canonical; the CPU would report it at the target in the guest's terms.
      trap = {kGeneralProtection, 0, 0};
      continue_at(registers, xenopolis_hosted_trapped);
      return;
    }
    if (in_guest(rip)) {
      save_guest(registers);
      trap = {static_cast<uint8_t>(registers[REG_TRAPNO]), static_cast<uint32_t>(registers[REG_ERR]),
              static_cast<uint64_t>(registers[REG_CR2])};
      continue_at(registers, xenopolis_hosted_trapped);
      return;
    }
  }
  // Our own bug: the instruction faults again, before the signal's former audience. A signal from kill(2) is repeated
  // for it; blocked until this handler returns.
  for (size_t i = 0; i < kFaults.size(); ++i) {
    if (kFaults[i] != signal) continue;
    raw_syscall(SYS_rt_sigaction, signal, reinterpret_cast<long>(&previous_faults[i]), 0, sizeof(uint64_t));
  }
  if (!from_cpu) raw_syscall(SYS_tgkill, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), signal);
}

// A thread's alternate signal stack; the one it had before comes back when the thread ends.
class AlternateStack {
 public:
  AlternateStack() {
    memory_ = mmap(nullptr, kAlternateStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory_ != MAP_FAILED);
    stack_t stack{};
    stack.ss_sp = memory_;
    stack.ss_size = kAlternateStackSize;
    CHECK(sigaltstack(&stack, &previous_) == 0);
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;
  ~AlternateStack() {
    sigaltstack(&previous_, nullptr);
    munmap(memory_, kAlternateStackSize);
  }

 private:
  void* memory_;
  stack_t previous_{};
};

}  // namespace

Status take_signals() {
  xenopolis_hosted_boundary = {};
  KernelSigaction action{};
  action.restorer = reinterpret_cast<void (*)()>(reinterpret_cast<uint64_t>(xenopolis_hosted_sigreturn));
  action.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | kSaRestorer;
  // The handlers do not nest: a fault in one of them is our own bug and shall end the process.
  action.mask = 1ull << (machine::Doorbells::kick_signal() - 1);
  for (int signal : kFaults) action.mask |= 1ull << (signal - 1);

  action.handler = on_fault;
  for (size_t i = 0; i < kFaults.size(); ++i) {
    if (raw_sigaction(kFaults[i], &action, &previous_faults[i]) != 0) return fail_errno("rt_sigaction for faults");
  }
  action.handler = on_kick;
  if (raw_sigaction(machine::Doorbells::kick_signal(), &action, &previous_kick) != 0) {
    return fail_errno("rt_sigaction for the kick");
  }
  return {};
}

void restore_signals() {
  for (size_t i = 0; i < kFaults.size(); ++i) raw_sigaction(kFaults[i], &previous_faults[i], nullptr);
  raw_sigaction(machine::Doorbells::kick_signal(), &previous_kick, nullptr);
}

void become_runner_thread() {
  if (is_runner_thread) return;
  thread_local AlternateStack stack;
  is_runner_thread = true;
}

const Trap& last_trap() {
  return trap;
}

}  // namespace xenopolis::vcpu::hosted
