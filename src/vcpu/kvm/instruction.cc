#include "vcpu/kvm/instruction.h"

namespace xenopolis::vcpu::kvm {
namespace {

bool is_high_byte(ZydisRegister name) {
  return name == ZYDIS_REGISTER_AH || name == ZYDIS_REGISTER_BH || name == ZYDIS_REGISTER_CH ||
         name == ZYDIS_REGISTER_DH;
}

uint64_t mask_of(unsigned bits) {
  return bits >= 64 ? ~0ull : (1ull << bits) - 1;
}

}  // namespace

std::optional<Instruction> decode(std::span<const uint8_t> code) {
  ZydisDecoder decoder;
  if (!ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64))) return std::nullopt;
  Instruction instruction;
  if (!ZYAN_SUCCESS(
          ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &instruction.info, instruction.operands))) {
    return std::nullopt;
  }
  return instruction;
}

uint64_t* general_register(domain::Registers& registers, ZydisRegister name) {
  switch (ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name)) {
    case ZYDIS_REGISTER_RAX:
      return &registers.rax;
    case ZYDIS_REGISTER_RBX:
      return &registers.rbx;
    case ZYDIS_REGISTER_RCX:
      return &registers.rcx;
    case ZYDIS_REGISTER_RDX:
      return &registers.rdx;
    case ZYDIS_REGISTER_RSI:
      return &registers.rsi;
    case ZYDIS_REGISTER_RDI:
      return &registers.rdi;
    case ZYDIS_REGISTER_RBP:
      return &registers.rbp;
    case ZYDIS_REGISTER_RSP:
      return &registers.rsp;
    case ZYDIS_REGISTER_R8:
      return &registers.r8;
    case ZYDIS_REGISTER_R9:
      return &registers.r9;
    case ZYDIS_REGISTER_R10:
      return &registers.r10;
    case ZYDIS_REGISTER_R11:
      return &registers.r11;
    case ZYDIS_REGISTER_R12:
      return &registers.r12;
    case ZYDIS_REGISTER_R13:
      return &registers.r13;
    case ZYDIS_REGISTER_R14:
      return &registers.r14;
    case ZYDIS_REGISTER_R15:
      return &registers.r15;
    default:
      return nullptr;
  }
}

std::optional<uint64_t> read_operand(const ZydisDecodedOperand& operand, domain::Registers& registers) {
  const uint64_t mask = mask_of(operand.size);
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return operand.imm.value.u & mask;
  if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return std::nullopt;
  const uint64_t* value = general_register(registers, operand.reg.value);
  if (value == nullptr) return std::nullopt;
  return (is_high_byte(operand.reg.value) ? *value >> 8 : *value) & mask;
}

bool write_register(ZydisRegister name, domain::Registers& registers, uint64_t value) {
  uint64_t* target = general_register(registers, name);
  if (target == nullptr) return false;
  const unsigned bits = ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, name);
  if (is_high_byte(name)) {
    *target = (*target & ~0xff00ull) | (value & 0xff) << 8;
  } else if (bits >= 32) {
    *target = value & mask_of(bits);
  } else {
    *target = (*target & ~mask_of(bits)) | (value & mask_of(bits));
  }
  return true;
}

}  // namespace xenopolis::vcpu::kvm
