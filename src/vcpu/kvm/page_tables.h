// The guest's page tables: Xen's MMU hypercalls on a KVM that may use shadow paging.
#pragma once

#include <cstdint>
#include <vector>

#include "domain/pv_vcpu.h"
#include "hypercall/hypercall.h"
#include "vcpu/kvm/hypervisor_area.h"
#include "vcpu/kvm/page_walker.h"

namespace xenopolis::vcpu::kvm {

// Entries are written at once, through the host's mapping. A KVM with shadow page tables does not see that, so entries
// that were present before are also queued: before the vCPU runs again, the update stub writes them once more from
// inside. Entries that become present, or only gain rights, need not be: the fault on the old one repairs the shadow.
class PageTables final : public hypercall::Mmu {
 public:
  // `flush_queue` runs the update stub on the first `count` entries of the queue; used when the queue is full.
  class Flusher {
   public:
    virtual ~Flusher() = default;
    virtual void run_update_stub(size_t count) = 0;
  };
  PageTables(const machine::DomainMemory& memory, const HypervisorArea& area, const PageWalker& walker,
             Flusher& flusher);

  // The vCPU whose base tables this changes; called before everything else, and at each entry to the guest: what the
  // next hypercall may do begins anew.
  void attach(domain::PvVcpu& vcpu) {
    vcpu_ = &vcpu;
    tables_left_ = kMaxTablesPerCall;
  }

  XenStatus write_entry(uint64_t entry_address, uint64_t value, bool preserve_accessed_dirty) override;
  XenStatus update_va_mapping(uint64_t va, uint64_t value) override;
  XenStatus set_m2p(Gfn mfn, uint64_t pfn) override;
  XenStatus pin(Gfn table, int level) override;
  XenStatus unpin(Gfn table) override;
  XenStatus new_kernel_base(Gfn table) override;
  XenStatus new_user_base(Gfn table) override;
  void flush_tlb() override { flush_wanted_ = true; }
  XenStatus set_gdt(const Gfn* frames, uint32_t count) override;

  // For the vCPU, before it runs.
  size_t queued() const { return queued_; }
  bool flush_wanted() const { return flush_wanted_; }
  void flushed() {
    queued_ = 0;
    flush_wanted_ = false;
  }

  // Whether `frame` is a page table as far as this knows: it was pinned, or hangs below a table that was.
  bool is_page_table(Gfn frame) const { return frame < levels_.size() && levels_[frame] != 0; }

  // Frame of GDT page `index`, if the guest has set one.
  std::optional<Gfn> gdt_frame(unsigned index) const;

 private:
  // Tables that one hypercall visits, with all entries of its lists: as many as map 16 GiB, more than a domain's RAM.
  // Keeps a hypercall below about 10 ms, also one whose tables lead to themselves and so are never known.
  static constexpr unsigned kMaxTablesPerCall = 8192 + 16 + 2;

  void store(uint64_t entry_address, uint64_t value);
  // Adopts `table` and what hangs below it: user bits, reserved slots, levels_. False: too many tables.
  bool adopt(Gfn table, int level);
  void release(Gfn table, int level);
  void insert_slots(Gfn table);

  const machine::DomainMemory& memory_;
  const HypervisorArea& area_;
  const PageWalker& walker_;
  Flusher& flusher_;
  domain::PvVcpu* vcpu_ = nullptr;
  std::vector<uint8_t> levels_;  // per frame of RAM: 1 to 4, or 0: not known to be a page table
  std::vector<Gfn> gdt_frames_;
  unsigned tables_left_ = kMaxTablesPerCall;
  size_t queued_ = 0;
  bool flush_wanted_ = false;
};

}  // namespace xenopolis::vcpu::kvm
