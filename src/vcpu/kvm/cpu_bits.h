// Names of the x86 bits that running PV guests needs (Intel SDM volumes 3 and 4).
#pragma once

#include <cstdint>

namespace xenopolis::vcpu::kvm {

// Page-table entries.
inline constexpr uint64_t kPtePresent = 1 << 0;
inline constexpr uint64_t kPteWritable = 1 << 1;
inline constexpr uint64_t kPteUser = 1 << 2;
inline constexpr uint64_t kPteAccessed = 1 << 5;
inline constexpr uint64_t kPteDirty = 1 << 6;
inline constexpr uint64_t kPteLarge = 1 << 7;
inline constexpr uint64_t kPteNoExecute = 1ull << 63;
inline constexpr uint64_t kPteFrameMask = 0x000f'ffff'ffff'f000;
inline constexpr unsigned kEntriesPerTable = 512;

inline constexpr unsigned index_of(uint64_t address, int level) {
  return static_cast<unsigned>(address >> (12 + 9 * (level - 1))) & (kEntriesPerTable - 1);
}
inline constexpr bool is_canonical(uint64_t address) {
  return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
}

// Page fault error codes.
inline constexpr uint32_t kFaultPresent = 1 << 0;
inline constexpr uint32_t kFaultWrite = 1 << 1;
inline constexpr uint32_t kFaultUser = 1 << 2;
inline constexpr uint32_t kFaultFetch = 1 << 4;
inline constexpr uint32_t kFaultProtectionKey = 1 << 5;

// Control registers.
inline constexpr uint64_t kCr0Pe = 1 << 0, kCr0Mp = 1 << 1, kCr0Et = 1 << 4, kCr0Ne = 1 << 5, kCr0Wp = 1 << 16,
                          kCr0Am = 1 << 18, kCr0Pg = 1ull << 31;
inline constexpr uint64_t kCr4Pae = 1 << 5, kCr4Osfxsr = 1 << 9, kCr4Osxmmexcpt = 1 << 10, kCr4Fsgsbase = 1 << 16,
                          kCr4Osxsave = 1 << 18;
inline constexpr uint64_t kEferSce = 1 << 0, kEferLme = 1 << 8, kEferLma = 1 << 10, kEferNxe = 1 << 11;

// RFLAGS. What a guest may set itself in ring 3 with IOPL 0 (CF PF AF ZF SF TF DF OF RF AC ID), and what is always set.
inline constexpr uint64_t kFlagCarry = 1 << 0, kFlagParity = 1 << 2, kFlagZero = 1 << 6, kFlagSign = 1 << 7,
                          kFlagOverflow = 1 << 11;
inline constexpr uint64_t kFlagTrap = 1 << 8, kFlagInterrupt = 1 << 9;
inline constexpr uint64_t kFlagsOfGuest = 0x250dd5;
inline constexpr uint64_t kFlagsFixed = 0x2 | kFlagInterrupt;

inline constexpr uint64_t kDr6SingleStep = 1 << 14;

// Model-specific registers.
inline constexpr uint32_t kMsrTsc = 0x10, kMsrApicBase = 0x1b, kMsrMicrocode = 0x8b, kMsrMiscEnable = 0x1a0,
                          kMsrPat = 0x277, kMsrEfer = 0xc0000080, kMsrStar = 0xc0000081, kMsrLstar = 0xc0000082,
                          kMsrSyscallMask = 0xc0000084, kMsrFsBase = 0xc0000100, kMsrGsBase = 0xc0000101,
                          kMsrShadowGsBase = 0xc0000102;

// Exception vectors.
inline constexpr uint8_t kVectorDebug = 1, kVectorBreakpoint = 3, kVectorOverflow = 4, kVectorInvalidOpcode = 6,
                         kVectorDoubleFault = 8, kVectorGeneralProtection = 13, kVectorPageFault = 14;
inline constexpr unsigned kExceptionVectors = 32;
inline constexpr bool pushes_error_code(unsigned vector) {
  // #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, #VC, #SX
  return (1u << vector & 0x60227d00u) != 0;
}
static_assert(pushes_error_code(8) && pushes_error_code(10) && pushes_error_code(14) && pushes_error_code(17) &&
              pushes_error_code(21) && pushes_error_code(29) && pushes_error_code(30) && !pushes_error_code(9) &&
              !pushes_error_code(15) && !pushes_error_code(6));

// XCR0 components.
inline constexpr uint64_t kXcr0X87 = 1, kXcr0Sse = 2, kXcr0Avx = 4, kXcr0Avx512 = 0xe0;

}  // namespace xenopolis::vcpu::kvm
