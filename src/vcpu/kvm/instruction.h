// Decoded guest instructions and their operands.
#pragma once

#include <Zydis/Zydis.h>

#include <optional>
#include <span>

#include "domain/pv_vcpu.h"

namespace xenopolis::vcpu::kvm {

inline constexpr size_t kMaxInstructionSize = ZYDIS_MAX_INSTRUCTION_LENGTH;

struct Instruction {
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

  ZydisMnemonic mnemonic() const { return info.mnemonic; }
  uint8_t size() const { return info.length; }
  bool is_memory(unsigned operand) const { return operands[operand].type == ZYDIS_OPERAND_TYPE_MEMORY; }
};

// 64-bit code.
std::optional<Instruction> decode(std::span<const uint8_t> code);

// The general register behind a name of any width (AL, AH, AX, EAX, RAX: rax), or nullptr: another kind of register.
uint64_t* general_register(domain::Registers& registers, ZydisRegister name);

// A register or immediate operand, zero-extended. Nothing: another kind of operand.
std::optional<uint64_t> read_operand(const ZydisDecodedOperand& operand, domain::Registers& registers);
// Writes as the CPU does: 32 bits clear the upper half, 8 and 16 leave the rest.
bool write_register(ZydisRegister name, domain::Registers& registers, uint64_t value);

}  // namespace xenopolis::vcpu::kvm
