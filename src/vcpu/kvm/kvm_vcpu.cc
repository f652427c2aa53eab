#include "vcpu/kvm/kvm_vcpu.h"

#include <fmt/format.h>

#include <cstring>

#include "base/clock.h"
#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/exits.h"

namespace xenopolis::vcpu::kvm {
namespace {

using domain::PvVcpu;
using domain::Registers;

constexpr uint16_t kRpl = 3;

// Exceptions that an instruction asks for: INT3 and INTO.
constexpr bool is_soft(uint8_t vector) {
  return vector == kVectorBreakpoint || vector == kVectorOverflow;
}

}  // namespace

void KvmVcpu::load_general(const Registers& registers) {
  kvm_regs& regs = run_->s.regs.regs;
  regs.rax = registers.rax;
  regs.rbx = registers.rbx;
  regs.rcx = registers.rcx;
  regs.rdx = registers.rdx;
  regs.rsi = registers.rsi;
  regs.rdi = registers.rdi;
  regs.rbp = registers.rbp;
  regs.rsp = registers.rsp;
  regs.r8 = registers.r8;
  regs.r9 = registers.r9;
  regs.r10 = registers.r10;
  regs.r11 = registers.r11;
  regs.r12 = registers.r12;
  regs.r13 = registers.r13;
  regs.r14 = registers.r14;
  regs.r15 = registers.r15;
  regs.rip = registers.rip;
  regs.rflags = (registers.rflags & kFlagsOfGuest) | kFlagsFixed;
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

uint64_t KvmVcpu::active_cr3(const PvVcpu& state) const {
  return state.kernel_mode || state.user_cr3 == 0 ? state.kernel_cr3 : state.user_cr3;
}

// Makes the shared page what `state` says. An Exit: `state` cannot be run, which is the guest's doing.
MaybeExit KvmVcpu::load(PvVcpu& state) {
  const Registers& registers = state.registers;
  // KVM, or the CPU, refuses these with an error that would end the domain.
  if (!is_canonical(registers.rip)) return trap(kVectorGeneralProtection, 0);
  if (!is_canonical(registers.fs_base) || !is_canonical(registers.gs_base)) {
    return fail_exit(
        fmt::format("segment base not canonical: FS {:#x}, GS {:#x}", registers.fs_base, registers.gs_base));
  }
  load_general(registers);

  kvm_sregs& sregs = run_->s.regs.sregs;
  bool changed = load_everything_;
  const auto set_base = [&](kvm_segment& segment, uint64_t base) {
    if (segment.base == base) return;
    segment.base = base;
    changed = true;
  };
  const auto set_data = [&](kvm_segment& segment, uint16_t selector) {
    if (segment.selector == selector) return;
    segment = segments_.data(selector);
    changed = true;
  };
  if (const uint64_t cr3 = active_cr3(state); sregs.cr3 != cr3) {
    sregs.cr3 = cr3;
    changed = true;
  }
  if (sregs.cs.selector != (registers.cs | kRpl)) {
    const auto segment = segments_.code(registers.cs);
    if (!segment) return trap(kVectorGeneralProtection, registers.cs & ~kRpl);
    sregs.cs = *segment;
    changed = true;
  }
  if (sregs.ss.selector != (registers.ss | kRpl)) {
    const auto segment = segments_.stack(registers.ss);
    if (!segment) return trap(kVectorGeneralProtection, registers.ss & ~kRpl);
    changed |= memcmp(&sregs.ss, &*segment, sizeof *segment) != 0;
    sregs.ss = *segment;
  }
  set_data(sregs.ds, registers.ds);
  set_data(sregs.es, registers.es);
  set_data(sregs.fs, registers.fs);
  set_data(sregs.gs, registers.gs);
  set_base(sregs.fs, registers.fs_base);
  set_base(sregs.gs, registers.gs_base);
  if (changed) run_->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
  load_everything_ = false;
  return std::nullopt;
}

void KvmVcpu::store(PvVcpu& state) const {
  const kvm_regs& regs = run_->s.regs.regs;
  const kvm_sregs& sregs = run_->s.regs.sregs;
  Registers& registers = state.registers;
  registers.rax = regs.rax;
  registers.rbx = regs.rbx;
  registers.rcx = regs.rcx;
  registers.rdx = regs.rdx;
  registers.rsi = regs.rsi;
  registers.rdi = regs.rdi;
  registers.rbp = regs.rbp;
  registers.rsp = regs.rsp;
  registers.r8 = regs.r8;
  registers.r9 = regs.r9;
  registers.r10 = regs.r10;
  registers.r11 = regs.r11;
  registers.r12 = regs.r12;
  registers.r13 = regs.r13;
  registers.r14 = regs.r14;
  registers.r15 = regs.r15;
  registers.rip = regs.rip;
  registers.rflags = regs.rflags;
  registers.cs = sregs.cs.selector;
  registers.ss = sregs.ss.selector;
  registers.ds = sregs.ds.selector;
  registers.es = sregs.es.selector;
  registers.fs = sregs.fs.selector;
  registers.gs = sregs.gs.selector;
  registers.fs_base = sregs.fs.base;
  registers.gs_base = sregs.gs.base;
}

Exit KvmVcpu::fail_exit(std::string why) {
  if (failure_.empty()) {
    const kvm_regs& regs = run_->s.regs.regs;
    failure_ = fmt::format("{} (RIP {:#x}, CS {:#x}, RSP {:#x}, CR3 {:#x})", why, regs.rip,
                           run_->s.regs.sregs.cs.selector, regs.rsp, run_->s.regs.sregs.cr3);
  }
  Exit exit = simple_exit(ExitReason::kFailed);
  exit.failure = failure_;
  return exit;
}

Exit KvmVcpu::run(PvVcpu& state) {
  if (!failure_.empty()) return fail_exit({});
  guest_memory_.attach(state);
  tables_.attach(state);
  KickScope kick(run_);
  kick_ = &kick;
  Exit exit = run_guest(state, kick);
  kick_ = nullptr;
  return exit;
}

Exit KvmVcpu::run_guest(PvVcpu& state, KickScope& kick) {
  // Goes round once for each exit that the guest need not hear of; a kick ends that.
  for (;;) {
    if (kick.take()) return simple_exit(ExitReason::kInterrupted);
    if (!flush(active_cr3(state), kick)) return fail_exit(failure_);
    if (auto exit = load(state)) return *exit;
    bool interrupted = false;
    if (!enter(kick, interrupted)) return fail_exit(failure_);
    if (!control_state_is_ours()) return fail_exit("the guest got into ring 0 and changed control registers");
    if (interrupted) {
      store(state);
      kick.take();
      return simple_exit(ExitReason::kInterrupted);
    }
    if (auto exit = handle_exit(state, kick)) return *exit;
  }
}

// Ring 3, no exception on its way into the guest, and not between SYSCALL and the exit that it leads to.
bool KvmVcpu::is_clean_boundary() const {
  const kvm_sregs& sregs = run_->s.regs.sregs;
  if ((sregs.cs.selector & kRpl) != kRpl) return false;
  if (run_->s.regs.regs.rip - pv_layout::kSyscallEntry < kPageSize) return false;
  kvm_vcpu_events events;
  if (ioctl(vcpu_.get(), KVM_GET_VCPU_EVENTS, &events) != 0) return true;
  if (is_soft(events.exception.nr)) return false;
  return events.exception.injected == 0 && events.exception.pending == 0;
}

// KVM does not tell of a soft exception that is on its way (kvm_vcpu_ioctl_x86_get_vcpu_events), only of the last
// exception's number, while new registers would make it forget one, with RIP behind the INT3 already. So each one that
// has arrived is wiped out: then the number says that one is still to come.
void KvmVcpu::forget_soft_exception() {
  const kvm_vcpu_events none{};
  static_cast<void>(ioctl(vcpu_.get(), KVM_SET_VCPU_EVENTS, &none));
}

bool KvmVcpu::enter(KickScope& kick, bool& interrupted) {
  run_->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  const MonotonicClock clock;
  uint64_t give_up_ns = 0;
  // Bound: time. Each round needs a signal in a state that lasts a few instructions.
  for (unsigned round = 0;; ++round) {
    const int code = ioctl(vcpu_.get(), KVM_RUN, 0) == 0 ? 0 : errno;
    if (code == 0 && run_->exit_reason != KVM_EXIT_INTR) return true;
    if (code != 0 && code != EINTR && code != EAGAIN) {
      fail_exit(fmt::format("KVM_RUN: {}", strerror(code)));
      return false;
    }
    if (is_clean_boundary()) {
      interrupted = true;
      return true;
    }
    const uint64_t now = clock.now_ns();
    if (give_up_ns == 0) give_up_ns = now + kStubLimitNs;
    if (now >= give_up_ns && round >= kMinStubRounds) {
      fail_exit("ring 0 of the virtual machine did not come to an end");
      return false;
    }
    kick.defer();
  }
}

// Brings KVM's view of the page tables up to date before the guest runs on `cr3`.
bool KvmVcpu::flush(uint64_t cr3, KickScope& kick) {
  if (tables_.queued() == 0 && !tables_.flush_wanted()) return true;
  if (tables_.queued() != 0) {
    if (!run_stub(tables_.queued(), cr3, kick)) return false;
  } else if (run_->s.regs.sregs.cr3 == cr3) {
    // A change of CR0 makes KVM load its MMU anew, which synchronises shadow tables and flushes the TLB without running
    // anything in ring 0. CR0.MP means nothing while CR0.TS is clear. A change of CR3 does the same by itself.
    control_.cr0 ^= kCr0Mp;
    run_->s.regs.sregs.cr0 = control_.cr0;
    load_everything_ = true;
  }
  tables_.flushed();
  return true;
}

void KvmVcpu::run_update_stub(size_t count) {
  const uint64_t cr3 = run_->s.regs.sregs.cr3;
  if (kick_ != nullptr) {
    run_stub(count, cr3, *kick_);
  } else {
    KickScope kick(run_);
    run_stub(count, cr3, kick);
  }
}

// A failure stays in failure_, and ends the next run() at the latest.
bool KvmVcpu::run_stub(size_t count, uint64_t cr3, KickScope& kick) {
  if (!failure_.empty()) return false;
  kvm_sregs& sregs = run_->s.regs.sregs;
  sregs.cs = supervisor_code_segment();
  sregs.ss = supervisor_data_segment();
  sregs.cr3 = cr3;
  kvm_regs& regs = run_->s.regs.regs;
  regs = {};
  regs.rip = area_.update_stub();
  regs.rsi = area_.queue_address();
  regs.rcx = count;
  regs.rsp = area_.stack_top();
  regs.rflags = 2;
  run_->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  load_everything_ = true;
  bool interrupted = false;
  if (!enter(kick, interrupted)) return false;
  const bool done = !interrupted && run_->exit_reason == KVM_EXIT_IO && run_->io.port == kStubDonePort &&
                    area_.is_end_of_update_stub(regs.rip) && control_state_is_ours();
  if (!done) fail_exit(fmt::format("the page-table update stub ended with KVM exit {}", run_->exit_reason));
  return done;
}

// A guest can write its own GDT entries and so get into ring 0 of its virtual machine; it gains nothing by that, but
// what run() relies on must still be as it was.
bool KvmVcpu::control_state_is_ours() const {
  const kvm_sregs& sregs = run_->s.regs.sregs;
  return sregs.cr0 == control_.cr0 && sregs.cr4 == control_.cr4 && sregs.efer == control_.efer &&
         sregs.gdt.base == control_.gdt.base && sregs.gdt.limit == control_.gdt.limit &&
         sregs.idt.base == control_.idt.base && sregs.idt.limit == control_.idt.limit &&
         sregs.tr.base == control_.tr.base && sregs.tr.limit == control_.tr.limit;
}

}  // namespace xenopolis::vcpu::kvm
