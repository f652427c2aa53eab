// Memory accesses that fault because of where they go: read-only page tables, and the table at Xen's default address.
#include <cstring>

#include "vcpu/kvm/cpu_bits.h"
#include "vcpu/kvm/emulate.h"
#include "vcpu/kvm/instruction.h"
#include "xen_abi/pv_layout.h"

namespace xenopolis::vcpu::kvm {
namespace {

using domain::PvVcpu;
using domain::Registers;

uint64_t mask_of(unsigned bits) {
  return bits >= 64 ? ~0ull : (1ull << bits) - 1;
}

// What an instruction makes of its memory operand.
struct Update {
  uint64_t memory;                          // new value
  std::optional<uint64_t> source_register;  // XCHG, XADD: what operand 1 gets
  std::optional<uint64_t> accumulator;      // CMPXCHG that failed: what RAX gets
  std::optional<uint64_t> flags;            // new RFLAGS
};

uint64_t logic_flags(uint64_t flags, uint64_t result, unsigned bits) {
  flags &= ~(kFlagCarry | kFlagOverflow | kFlagZero | kFlagSign | kFlagParity);
  if ((result & mask_of(bits)) == 0) flags |= kFlagZero;
  if ((result >> (bits - 1) & 1) != 0) flags |= kFlagSign;
  if (__builtin_parity(static_cast<unsigned>(result & 0xff)) == 0) flags |= kFlagParity;
  return flags;
}

Update bit_update(uint64_t old, uint64_t changed, uint64_t bit, uint64_t flags) {
  flags &= ~kFlagCarry;
  if ((old >> bit & 1) != 0) flags |= kFlagCarry;
  return {changed, std::nullopt, std::nullopt, flags};
}

// The instructions that kernels write page-table entries with. `operand` is the other one.
std::optional<Update> update_of(const Instruction& instruction, Registers& registers, uint64_t old, uint64_t operand) {
  const unsigned bits = instruction.operands[0].size;
  const uint64_t bit = operand % bits;
  const auto logic = [&](uint64_t result) {
    return Update{result, std::nullopt, std::nullopt, logic_flags(registers.rflags, result, bits)};
  };
  switch (instruction.mnemonic()) {
    case ZYDIS_MNEMONIC_MOV:
      return Update{operand, std::nullopt, std::nullopt, std::nullopt};
    case ZYDIS_MNEMONIC_XCHG:
      return Update{operand, old, std::nullopt, std::nullopt};
    case ZYDIS_MNEMONIC_CMPXCHG: {
      const bool equal = (registers.rax & mask_of(bits)) == old;
      const uint64_t flags = equal ? registers.rflags | kFlagZero : registers.rflags & ~kFlagZero;
      if (equal) return Update{operand, std::nullopt, std::nullopt, flags};
      return Update{old, std::nullopt, old, flags};
    }
    case ZYDIS_MNEMONIC_AND:
      return logic(old & operand);
    case ZYDIS_MNEMONIC_OR:
      return logic(old | operand);
    case ZYDIS_MNEMONIC_XOR:
      return logic(old ^ operand);
    case ZYDIS_MNEMONIC_BTS:
      return bit_update(old, old | 1ull << bit, bit, registers.rflags);
    case ZYDIS_MNEMONIC_BTR:
      return bit_update(old, old & ~(1ull << bit), bit, registers.rflags);
    case ZYDIS_MNEMONIC_BTC:
      return bit_update(old, old ^ 1ull << bit, bit, registers.rflags);
    default:
      return std::nullopt;
  }
}

// XCHG may name the register first.
std::optional<uint64_t> other_operand(const Instruction& instruction, Registers& registers) {
  return read_operand(instruction.operands[instruction.is_memory(0) ? 1 : 0], registers);
}

bool write_page_table(PvVcpu& vcpu, PageTables& tables, uint8_t* bytes, uint64_t gpa, const Instruction& instruction) {
  Registers& registers = vcpu.registers;
  const unsigned memory_operand = instruction.is_memory(0) ? 0 : 1;
  const bool is_exchange = instruction.mnemonic() == ZYDIS_MNEMONIC_XCHG;
  if (!instruction.is_memory(memory_operand) || (memory_operand == 1 && !is_exchange)) return false;
  const unsigned bits = instruction.operands[memory_operand].size;
  const uint64_t shift = gpa % sizeof(uint64_t) * 8;
  if ((bits != 8 && bits != 16 && bits != 32 && bits != 64) || shift + bits > 64) return false;
  const auto operand = other_operand(instruction, registers);
  if (!operand) return false;

  uint64_t entry;
  memcpy(&entry, bytes, sizeof entry);
  const uint64_t old = entry >> shift & mask_of(bits);
  const auto update = update_of(instruction, registers, old, *operand);
  if (!update) return false;
  const uint64_t mask = mask_of(bits) << shift;
  const uint64_t changed = (entry & ~mask) | (update->memory << shift & mask);
  if (!tables.write_entry(gpa & ~7ull, changed, false)) return false;
  if (update->source_register) {
    write_register(instruction.operands[1 - memory_operand].reg.value, registers, *update->source_register);
  }
  if (update->accumulator) {
    constexpr ZydisRegister kAccumulators[] = {ZYDIS_REGISTER_AL, ZYDIS_REGISTER_AX, ZYDIS_REGISTER_EAX,
                                               ZYDIS_REGISTER_RAX};
    write_register(kAccumulators[__builtin_ctz(bits / 8)], registers, *update->accumulator);
  }
  if (update->flags) registers.rflags = *update->flags;
  return true;
}

// A MOV from the machine-to-physical table.
bool read_m2p(PvVcpu& vcpu, const uint8_t* table, uint64_t size, uint64_t offset, const Instruction& instruction) {
  if (instruction.mnemonic() != ZYDIS_MNEMONIC_MOV || !instruction.is_memory(1)) return false;
  const uint64_t width = instruction.operands[1].size / 8;
  if (width > sizeof(uint64_t) || offset + width > size) return false;
  uint64_t value = 0;
  memcpy(&value, table + offset, width);
  return write_register(instruction.operands[0].reg.value, vcpu.registers, value);
}

}  // namespace

bool Emulator::page_fault(PvVcpu& vcpu, uint64_t address, const std::optional<Translation>& where, bool is_write) {
  const domain::MemoryLayout layout{domain_memory_.ram_pages};
  const uint64_t m2p_size = layout.ram_pages * sizeof(uint64_t);
  const uint64_t m2p_offset = address - pv_layout::kSupervisorBase;
  const bool is_m2p_read = !is_write && m2p_offset < m2p_size;
  const bool is_table_write = is_write && where && !where->writable && tables_.is_page_table(where->gpa >> kPageShift);
  if (!is_m2p_read && !is_table_write) return false;

  uint8_t code[kMaxInstructionSize];
  const size_t size = memory_.copy_code(vcpu.kernel_cr3, vcpu.registers.rip, code, sizeof code);
  const auto instruction = decode({code, size});
  if (!instruction) return false;
  bool done;
  if (is_m2p_read) {
    done = read_m2p(vcpu, domain_memory_.page(layout.m2p()), m2p_size, m2p_offset, *instruction);
  } else {
    uint8_t* page = domain_memory_.ram_page(where->gpa >> kPageShift);
    if (page == nullptr) return false;
    done = write_page_table(vcpu, tables_, page + (where->gpa % kPageSize & ~7ull), where->gpa, *instruction);
  }
  if (done) vcpu.registers.rip += instruction->size();
  return done;
}

}  // namespace xenopolis::vcpu::kvm
