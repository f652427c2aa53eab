#include "vcpu/kvm/emulate.h"
namespace xenopolis::vcpu::kvm {
bool Emulator::privileged_instruction(domain::PvVcpu&) {
  return false;
}
bool Emulator::forced_cpuid(domain::PvVcpu&, uint64_t) {
  return false;
}
bool Emulator::page_fault(domain::PvVcpu&, uint64_t, const std::optional<Translation>&, bool) {
  return false;
}
}  // namespace xenopolis::vcpu::kvm
