// The guest's memory through its page tables, walked in software.
#pragma once

#include <optional>

#include "domain/pv_vcpu.h"
#include "hypercall/hypercall.h"
#include "machine/domain_memory.h"
#include "vcpu/kvm/cpu_bits.h"

namespace xenopolis::vcpu::kvm {

struct Translation {
  uint64_t gpa = 0;            // of the byte
  uint64_t entry_address = 0;  // guest-physical address of the entry that maps it
  bool writable = true;        // at every level
  bool user = true;
  bool executable = true;
};

// Page tables lie anywhere in the domain's extent; a walk that leaves it finds nothing. At most four steps.
class PageWalker {
 public:
  explicit PageWalker(const machine::DomainMemory& memory) : memory_(memory) {}

  std::optional<Translation> translate(uint64_t cr3, uint64_t address) const;
  // Guest-physical address of the L1 entry for `address`, present or not.
  std::optional<uint64_t> level1_entry(uint64_t cr3, uint64_t address) const;
  // Sets the user bit in each present entry on the way to `address`: as Xen does, because the guest's kernel runs in
  // ring 3. True: there was one to set.
  bool set_user_bits(uint64_t cr3, uint64_t address) const;

  // A page-table entry by its guest-physical address (8-aligned), or nullptr.
  uint64_t* entry(uint64_t entry_address) const;

 private:
  const machine::DomainMemory& memory_;
};

// What hypercalls and upcall frames copy: only what a guest may reach, that is not the hypervisor's slots.
class PagedGuestMemory final : public hypercall::GuestMemory {
 public:
  PagedGuestMemory(const machine::DomainMemory& memory, const PageWalker& walker) : memory_(memory), walker_(walker) {}

  // The vCPU whose kernel page tables count; called before everything else.
  void attach(const domain::PvVcpu& vcpu) { vcpu_ = &vcpu; }

  bool copy_in(uint64_t guest_address, void* to, size_t size) override;
  bool copy_out(uint64_t guest_address, const void* from, size_t size) override;

  // Up to `size` bytes of code through the tables at `cr3`; how many there were.
  size_t copy_code(uint64_t cr3, uint64_t address, void* to, size_t size) const;

 private:
  // The host's bytes at `address` up to the page's end, or nullptr.
  uint8_t* locate(uint64_t cr3, uint64_t address, bool for_writing) const;
  template <class Copy>
  bool for_each_page(uint64_t address, size_t size, bool for_writing, Copy copy) const;

  const machine::DomainMemory& memory_;
  const PageWalker& walker_;
  const domain::PvVcpu* vcpu_ = nullptr;
};

}  // namespace xenopolis::vcpu::kvm
