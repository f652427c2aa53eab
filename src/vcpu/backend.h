// What runs guest code: the kvm and the hosted backend behind one interface.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/builder.h"
#include "domain/pv_vcpu.h"
#include "hypercall/hypercall.h"
#include "machine/domain_memory.h"

namespace xenopolis::vcpu {

enum class ExitReason : uint8_t {
  kHypercall,    // registers are past the call; number in RAX
  kTrap,         // an exception for the guest's own handler: vector, error_code
  kSyscall,      // SYSCALL in guest user mode: for the guest's syscall callback
  kInterrupted,  // a kick or timer signal: nothing happened
  kFailed,       // the vCPU cannot go on: `failure` says why
};

struct Exit {
  ExitReason reason = ExitReason::kInterrupted;
  uint8_t vector = 0;
  bool has_error_code = false;
  uint32_t error_code = 0;
  uint64_t fault_address = 0;  // page faults: CR2
  std::string failure;         // kFailed
};

// One vCPU of one domain. Used by its cell's runner thread only.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  // Runs guest code from state.registers (and kernel_mode, cr3s, segment bases) until something happens; the state is
  // up to date again then. A pending kick signal makes it return kInterrupted at once, never later than the signal.
  virtual Exit run(domain::PvVcpu& state) = 0;
  virtual hypercall::GuestMemory& memory() = 0;
  virtual hypercall::Mmu* mmu() = 0;  // nullptr: flat
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  // "kvm", "hosted"
  virtual bool flat() const = 0;              // domains are built without page tables
  virtual std::vector<unsigned long> ioctls() const = 0;  // all that it ever makes once it is there
  // The vCPU of a freshly built domain; fills the hypercall page and sets state's start registers.
  virtual Result<std::unique_ptr<Vcpu>> create_vcpu(domain::PvVcpu& state, const machine::DomainMemory& memory,
                                                    const builder::BuiltDomain& built) = 0;
};

// kvm/: ENOENT, EACCES, ... with what to do about it when /dev/kvm does not do.
Result<std::unique_ptr<Backend>> create_kvm_backend();
// hosted/: at most one per process, because it owns the process' SIGSEGV, SIGILL, SIGFPE and kick signal handlers.
Result<std::unique_ptr<Backend>> create_hosted_backend();

}  // namespace xenopolis::vcpu
