// For tests: a small domain made by hand, with machine code instead of a kernel.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#include "domain/memory_layout.h"
#include "machine/machine.h"
#include "vcpu/backend.h"

namespace xenopolis::vcpu::kvm {

// Gives the reason why there is no working KVM; std::nullopt: there is one.
std::optional<std::string> why_no_kvm();

// Skips the test without KVM; REQUIRE_KVM=1 makes that a failure.
#define SKIP_WITHOUT_KVM()                                \
  if (const auto why = why_no_kvm()) {                    \
    if (getenv("REQUIRE_KVM") != nullptr) FAIL() << *why; \
    GTEST_SKIP() << "no usable KVM: " << *why;            \
  }

// Machine code, byte by byte.
class Code {
 public:
  Code& bytes(std::initializer_list<int> values);
  Code& word32(uint64_t value);
  Code& word64(uint64_t value);
  Code& move_to_rax(uint64_t value) { return bytes({0x48, 0xb8}).word64(value); }
  Code& move_to_rbx(uint64_t value) { return bytes({0x48, 0xbb}).word64(value); }
  Code& move_to_rsp(uint64_t value) { return bytes({0x48, 0xbc}).word64(value); }
  // call hypercall page entry (clobbers RDX).
  Code& hypercall(unsigned number);
  Code& spin() { return bytes({0xeb, 0xfe}); }
  const std::vector<uint8_t>& get() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

// 4 MiB of RAM, mapped at kBase by a two-megabyte run of L1 entries:
//   gfn 0x10  hypercall page   0x11.. code   0x20 stack   0x40 L4  0x41 L3  0x42 L2  0x43, 0x44 L1   0x50.. free
class TestDomain {
 public:
  static constexpr uint64_t kBase = 0xffffffff80000000;
  static constexpr uint64_t kRamPages = 1024;
  static constexpr Gfn kHypercallPage = 0x10, kCode = 0x11, kStackTop = 0x21, kL4 = 0x40, kL3 = 0x41, kL2 = 0x42,
                       kL1 = 0x43, kFree = 0x50;

  TestDomain();
  ~TestDomain();

  static uint64_t address(Gfn gfn) { return kBase + (gfn << kPageShift); }
  static uint64_t l1_entry_of(uint64_t va) { return (kL1 << kPageShift) + ((va - kBase) >> kPageShift) * 8; }

  // Creates the vCPU with RIP at the code. Once.
  void start(const Code& code);
  // Puts code elsewhere.
  void place(Gfn gfn, const Code& code);
  // Runs until something other than kInterrupted.
  Exit run();

  uint64_t* words(Gfn gfn) { return reinterpret_cast<uint64_t*>(memory.page(gfn)); }

  machine::DomainMemory memory;
  domain::PvVcpu state;
  std::unique_ptr<Vcpu> vcpu;
};

}  // namespace xenopolis::vcpu::kvm
