// The hosted backend: guests run natively in the cell's own process and address space, at the addresses that their
// memory has in the machine. It gives NO isolation: a hosted guest can read and write everything its cell can, other
// domains included, and make system calls. It is for guests that one trusts: tests, development, and scale.
#include <fmt/format.h>
#include <sys/mman.h>

#include "vcpu/backend.h"
#include "vcpu/hosted/boundary.h"
#include "vcpu/hosted/flat_memory.h"
#include "vcpu/hosted/hypercall_page.h"
#include "vcpu/hosted/signals.h"

namespace xenopolis::vcpu {
namespace hosted {
namespace {

// Arithmetic flags, direction and ID are the guest's. Trap, nested task and alignment check would hit the runner.
constexpr uint64_t kGuestFlags = 0xcd5 | 1u << 21;
constexpr uint64_t kFixedFlags = 0x202;  // interrupts on, and the bit that is always 1

bool pushes_error_code(uint8_t vector) {
  return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

class HostedVcpu final : public Vcpu {
 public:
  explicit HostedVcpu(const machine::Extent& extent) : extent_(extent), memory_(extent) {}
  HostedVcpu(const HostedVcpu&) = delete;
  HostedVcpu& operator=(const HostedVcpu&) = delete;
  // The extent's next owner may be of another cell or backend: here it is data again. Merges with its neighbours.
  ~HostedVcpu() override { mprotect(extent_.begin(), extent_.size(), PROT_READ | PROT_WRITE); }

  Exit run(domain::PvVcpu& state) override {
    Exit exit;
    if (!state.kernel_mode) {
      exit.reason = ExitReason::kFailed;
      exit.failure = "entered user mode, which the hosted backend does not have";
      return exit;
    }
    become_runner_thread();
    state.registers.rflags = (state.registers.rflags & kGuestFlags) | kFixedFlags;
    xenopolis_hosted_boundary.registers = &state.registers;
    switch (xenopolis_hosted_enter()) {
      case kBackHypercall:
        exit.reason = ExitReason::kHypercall;
        break;
      case kBackTrapped:
        exit.reason = ExitReason::kTrap;
        exit.vector = last_trap().vector;
        exit.has_error_code = pushes_error_code(exit.vector);
        exit.error_code = exit.has_error_code ? last_trap().error_code : 0;
        exit.fault_address = last_trap().fault_address;
        break;
      default:
        // Whatever kick came until here is answered by this return.
        xenopolis_hosted_boundary.kicked = 0;
        exit.reason = ExitReason::kInterrupted;
    }
    return exit;
  }

  hypercall::GuestMemory& memory() override { return memory_; }
  hypercall::Mmu* mmu() override { return nullptr; }

 private:
  machine::Extent extent_;
  FlatMemory memory_;
};

bool backend_exists = false;

class HostedBackend final : public Backend {
 public:
  HostedBackend() = default;
  HostedBackend(const HostedBackend&) = delete;
  HostedBackend& operator=(const HostedBackend&) = delete;
  ~HostedBackend() override {
    restore_signals();
    backend_exists = false;
  }

  std::string_view name() const override { return "hosted"; }
  bool flat() const override { return true; }
  std::vector<unsigned long> ioctls() const override { return {}; }

  Result<std::unique_ptr<Vcpu>> create_vcpu(domain::PvVcpu& state, const machine::DomainMemory& memory,
                                            const builder::BuiltDomain& built) override {
    if (!built.hypercall_page) {
      return fail(ENOEXEC, "the image has no hypercall page, through which alone hosted guests make hypercalls");
    }
    const FlatMemory flat(memory.extent);
    if (!flat.contains(*built.hypercall_page, kPageSize)) {
      return fail(EINVAL, fmt::format("the hypercall page at {:#x} lies outside of the domain", *built.hypercall_page));
    }
    if (mprotect(memory.extent.begin(), memory.extent.size(), PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
      return fail_errno(fmt::format("making {} KiB of guest memory executable", memory.extent.size() / 1024));
    }
    auto vcpu = std::make_unique<HostedVcpu>(memory.extent);
    fill_hypercall_page(reinterpret_cast<uint8_t*>(*built.hypercall_page),
                        reinterpret_cast<uint64_t>(xenopolis_hosted_hypercall));

    domain::Registers& registers = state.registers;
    registers = {};
    registers.rip = built.entry;
    registers.rsp = built.stack;
    registers.rsi = built.start_info;
    registers.rflags = kFixedFlags;
    registers.cs = domain::kKernelCs;
    registers.ss = registers.ds = registers.es = domain::kKernelSs;
    state.kernel_mode = true;
    return vcpu;
  }
};

}  // namespace
}  // namespace hosted

Result<std::unique_ptr<Backend>> create_hosted_backend() {
  if (hosted::backend_exists) return fail(EBUSY, "this process has a hosted backend already");
  TRY_VOID(hosted::take_signals());
  hosted::backend_exists = true;
  return std::make_unique<hosted::HostedBackend>();
}

}  // namespace xenopolis::vcpu
