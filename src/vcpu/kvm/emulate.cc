#include "vcpu/kvm/emulate.h"

#include <cstring>

#include "base/clock.h"
#include "vcpu/kvm/cpu_bits.h"

namespace xenopolis::vcpu::kvm {
namespace {

using domain::PvVcpu;
using domain::Registers;

// What a PV kernel reads from control registers: those of Xen's native kernel, which it cannot change.
constexpr uint64_t kShownCr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Pg;
constexpr uint64_t kShownCr4 = kCr4Pae | kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Fsgsbase | kCr4Osxsave;
constexpr uint64_t kShownEfer = kEferSce | kEferLme | kEferLma | kEferNxe;
constexpr uint64_t kShownApicBase = 0xfee00900;        // enabled, boot processor
constexpr uint64_t kShownPat = 0x0007'0406'0007'0406;  // power-on value
constexpr uint64_t kShownMiscEnable = 1;               // fast strings

std::optional<uint64_t> read_msr(const PvVcpu& vcpu, uint32_t index) {
  switch (index) {
    case kMsrFsBase:
      return vcpu.registers.fs_base;
    case kMsrGsBase:
      return vcpu.registers.gs_base;
    case kMsrShadowGsBase:
      return vcpu.gs_base_inactive;
    case kMsrEfer:
      return kShownEfer;
    case kMsrApicBase:
      return kShownApicBase;
    case kMsrPat:
      return kShownPat;
    case kMsrMiscEnable:
      return kShownMiscEnable;
    case kMsrMicrocode:
      return 0;
    default:
      return std::nullopt;
  }
}

bool write_msr(PvVcpu& vcpu, Emulator::Platform& platform, uint32_t index, uint64_t value) {
  switch (index) {
    case kMsrFsBase:
    case kMsrGsBase:
    case kMsrShadowGsBase: {
      if (!is_canonical(value)) return false;
      uint64_t& base = index == kMsrFsBase   ? vcpu.registers.fs_base
                       : index == kMsrGsBase ? vcpu.registers.gs_base
                                             : vcpu.gs_base_inactive;
      base = value;
      return true;
    }
    case XEN_CPUID_FIRST_LEAF:  // the register that CPUID names for the hypercall page; bits 0-11: page number
      return value % kPageSize == 0 && platform.set_hypercall_page(value >> kPageShift);
    default:
      // As Xen, which lets writes that change nothing pass and drops those to registers it does not care about.
      return read_msr(vcpu, index) == value || index == kMsrMicrocode;
  }
}

uint64_t edx_eax(const Registers& registers) {
  return registers.rdx << 32 | (registers.rax & 0xffffffff);
}

class ControlRegisters {
 public:
  ControlRegisters(PvVcpu& vcpu, PageTables& tables, uint64_t fault_address)
      : vcpu_(vcpu), tables_(tables), fault_address_(fault_address) {}

  // MOV between a general and a control or debug register.
  bool move(const Instruction& instruction) {
    const ZydisRegister to = instruction.operands[0].reg.value, from = instruction.operands[1].reg.value;
    if (const auto value = read(from)) return write_register(to, vcpu_.registers, *value);
    const uint64_t* value = general_register(vcpu_.registers, from);
    return value != nullptr && write(to, *value);
  }

 private:
  std::optional<uint64_t> read(ZydisRegister name) const {
    if (const auto number = debug_register(name)) return vcpu_.debug_registers[*number];
    switch (name) {
      case ZYDIS_REGISTER_CR0:
        return kShownCr0;
      case ZYDIS_REGISTER_CR2:
        return fault_address_;
      case ZYDIS_REGISTER_CR3:
        return vcpu_.kernel_cr3;
      case ZYDIS_REGISTER_CR4:
        return kShownCr4;
      default:
        return std::nullopt;
    }
  }

  bool write(ZydisRegister name, uint64_t value) {
    if (const auto number = debug_register(name)) {
      constexpr uint64_t kBreakpointEnables = 0xff;
      if (*number == 7 && (value & kBreakpointEnables) != 0) return false;  // there are no breakpoints
      vcpu_.debug_registers[*number] = value;
      return true;
    }
    switch (name) {
      case ZYDIS_REGISTER_CR3:
        return static_cast<bool>(tables_.new_kernel_base((value & kPteFrameMask) >> kPageShift));
      case ZYDIS_REGISTER_CR0:
      case ZYDIS_REGISTER_CR4:
        return true;  // they stay what they are
      default:
        return false;
    }
  }

  // DR4 and DR5 do not exist.
  static std::optional<unsigned> debug_register(ZydisRegister name) {
    if (name < ZYDIS_REGISTER_DR0 || name > ZYDIS_REGISTER_DR7) return std::nullopt;
    const unsigned number = name - ZYDIS_REGISTER_DR0;
    if (number == 4 || number == 5) return std::nullopt;
    return number;
  }

  PvVcpu& vcpu_;
  PageTables& tables_;
  uint64_t fault_address_;
};

}  // namespace

bool Emulator::privileged_instruction(PvVcpu& vcpu) {
  if (!vcpu.kernel_mode) return false;
  uint8_t code[kMaxInstructionSize];
  const size_t size = memory_.copy_code(vcpu.kernel_cr3, vcpu.registers.rip, code, sizeof code);
  const auto instruction = decode({code, size});
  if (!instruction) return false;
  Registers& registers = vcpu.registers;
  switch (instruction->mnemonic()) {
    case ZYDIS_MNEMONIC_CLI:  // Xen ignores these two: the upcall mask is what counts
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_CLTS:
    case ZYDIS_MNEMONIC_WBINVD:  // no devices, no caches to write back
    case ZYDIS_MNEMONIC_INVD:
      break;
    case ZYDIS_MNEMONIC_INVLPG:
      tables_.flush_tlb();
      break;
    case ZYDIS_MNEMONIC_MOV:
      if (!ControlRegisters(vcpu, tables_, fault_address_).move(*instruction)) return false;
      break;
    case ZYDIS_MNEMONIC_RDMSR: {
      const auto value = read_msr(vcpu, static_cast<uint32_t>(registers.rcx));
      if (!value) return false;
      registers.rax = static_cast<uint32_t>(*value);
      registers.rdx = *value >> 32;
      break;
    }
    case ZYDIS_MNEMONIC_WRMSR:
      if (!write_msr(vcpu, platform_, static_cast<uint32_t>(registers.rcx), edx_eax(registers))) return false;
      break;
    case ZYDIS_MNEMONIC_XSETBV:
      if (static_cast<uint32_t>(registers.rcx) != 0 || !platform_.set_xcr0(edx_eax(registers))) return false;
      break;
    case ZYDIS_MNEMONIC_IN:
      if (!port_input(*instruction, registers)) return false;
      break;
    case ZYDIS_MNEMONIC_OUT:
      if (!port_output(*instruction, registers)) return false;
      break;
    default:
      return false;
  }
  registers.rip += instruction->size();
  return true;
}

// Ports that no device has read as all ones. Devices here have ports of one byte.
bool Emulator::port_input(const Instruction& instruction, Registers& registers) {
  const auto port = read_operand(instruction.operands[1], registers);
  if (!port) return false;
  const uint64_t value = instruction.operands[0].size == 8
                             ? interval_timer_.read(static_cast<uint32_t>(*port), MonotonicClock().now_ns())
                             : ~0ull;
  return write_register(instruction.operands[0].reg.value, registers, value);
}

bool Emulator::port_output(const Instruction& instruction, Registers& registers) {
  const auto port = read_operand(instruction.operands[0], registers);
  const auto value = read_operand(instruction.operands[1], registers);
  if (!port || !value) return false;
  if (instruction.operands[1].size == 8) {
    interval_timer_.write(static_cast<uint32_t>(*port), static_cast<uint8_t>(*value), MonotonicClock().now_ns());
  }
  return true;
}

bool Emulator::forced_cpuid(PvVcpu& vcpu, uint64_t cr3) {
  constexpr uint8_t kSequence[] = {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2};
  uint8_t code[sizeof kSequence];
  Registers& registers = vcpu.registers;
  if (memory_.copy_code(cr3, registers.rip, code, sizeof code) < sizeof code) return false;
  if (memcmp(code, kSequence, sizeof code) != 0) return false;
  const CpuidResult result = cpuid_.lookup(static_cast<uint32_t>(registers.rax), static_cast<uint32_t>(registers.rcx));
  registers.rax = result.eax;
  registers.rbx = result.ebx;
  registers.rcx = result.ecx;
  registers.rdx = result.edx;
  registers.rip += sizeof kSequence;
  return true;
}

}  // namespace xenopolis::vcpu::kvm
