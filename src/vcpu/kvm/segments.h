// Segment registers out of selectors, as a ring 3 program would load them.
#pragma once

#include <optional>

#include "vcpu/kvm/kvm_api.h"
#include "vcpu/kvm/page_tables.h"

namespace xenopolis::vcpu::kvm {

// Flat segments of the hypervisor.
kvm_segment supervisor_code_segment();
kvm_segment supervisor_data_segment();
// An unusable segment register with a null selector.
kvm_segment null_segment();

class SegmentLoader {
 public:
  SegmentLoader(const machine::DomainMemory& memory, const PageTables& tables) : memory_(memory), tables_(tables) {}

  // Code or stack segment of ring 3. Nothing: #GP(selector), because the descriptor is none or not for this.
  std::optional<kvm_segment> code(uint16_t selector) const;
  std::optional<kvm_segment> stack(uint16_t selector) const;
  // DS, ES, FS, GS: a selector that cannot be loaded becomes null. FS and GS get their bases elsewhere.
  kvm_segment data(uint16_t selector) const;

 private:
  std::optional<uint64_t> descriptor(uint16_t selector) const;

  const machine::DomainMemory& memory_;
  const PageTables& tables_;
};

}  // namespace xenopolis::vcpu::kvm
