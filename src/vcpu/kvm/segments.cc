#include "vcpu/kvm/segments.h"

#include "vcpu/kvm/hypervisor_area.h"

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint16_t kRpl = 3, kTableIndicator = 4;

// Descriptor bits (Intel SDM volume 3, 3.4.5).
constexpr unsigned kTypeShift = 40, kSystemShift = 44, kDplShift = 45, kPresentShift = 47, kLongShift = 53,
                   kBigShift = 54, kGranularityShift = 55;
constexpr uint8_t kTypeCode = 8, kTypeWritable = 2, kTypeAccessed = 1;
constexpr uint8_t kCodeReadAccessed = 11, kDataWriteAccessed = 3;

kvm_segment flat(uint16_t selector, uint8_t type, uint8_t dpl, bool is_long) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.dpl = dpl;
  segment.db = is_long ? 0 : 1;
  segment.s = 1;
  segment.l = is_long ? 1 : 0;
  segment.g = 1;
  return segment;
}

kvm_segment from_descriptor(uint16_t selector, uint64_t descriptor) {
  kvm_segment segment{};
  segment.selector = selector;
  segment.base = (descriptor >> 16 & 0xffffff) | (descriptor >> 56 & 0xff) << 24;
  segment.limit = static_cast<uint32_t>((descriptor & 0xffff) | (descriptor >> 48 & 0xf) << 16);
  segment.type = (descriptor >> kTypeShift & 0xf) | kTypeAccessed;
  segment.s = descriptor >> kSystemShift & 1;
  segment.dpl = descriptor >> kDplShift & 3;
  segment.present = descriptor >> kPresentShift & 1;
  segment.l = descriptor >> kLongShift & 1;
  segment.db = descriptor >> kBigShift & 1;
  segment.g = descriptor >> kGranularityShift & 1;
  if (segment.g) segment.limit = segment.limit << 12 | 0xfff;
  return segment;
}

bool is_for_ring3(const kvm_segment& segment) {
  return segment.present && segment.s && segment.dpl == 3;
}

}  // namespace

kvm_segment supervisor_code_segment() {
  return flat(kSupervisorCs, kCodeReadAccessed, 0, true);
}
kvm_segment supervisor_data_segment() {
  return flat(kSupervisorSs, kDataWriteAccessed, 0, false);
}

kvm_segment null_segment() {
  kvm_segment segment{};
  segment.type = kDataWriteAccessed;
  segment.s = 1;
  segment.dpl = 3;
  segment.unusable = 1;
  return segment;
}

std::optional<uint64_t> SegmentLoader::descriptor(uint16_t selector) const {
  if ((selector & kTableIndicator) != 0) return std::nullopt;  // there are no LDTs
  const uint64_t offset = selector & ~7u;
  const auto frame = tables_.gdt_frame(static_cast<unsigned>(offset / kPageSize));
  const uint8_t* page = frame ? memory_.ram_page(*frame) : nullptr;
  if (page == nullptr) return std::nullopt;
  return *reinterpret_cast<const uint64_t*>(page + offset % kPageSize);
}

std::optional<kvm_segment> SegmentLoader::code(uint16_t selector) const {
  selector |= kRpl;
  if (selector == FLAT_RING3_CS64) return flat(selector, kCodeReadAccessed, 3, true);
  if (selector == FLAT_RING3_CS32) return flat(selector, kCodeReadAccessed, 3, false);
  const auto found = descriptor(selector);
  if (!found) return std::nullopt;
  const kvm_segment segment = from_descriptor(selector, *found);
  // A segment that is both long and big is reserved.
  if (!is_for_ring3(segment) || !(segment.type & kTypeCode) || (segment.l && segment.db)) return std::nullopt;
  return segment;
}

std::optional<kvm_segment> SegmentLoader::stack(uint16_t selector) const {
  selector |= kRpl;
  // Xen takes a null selector for 64-bit code; the CPU wants a segment in ring 3.
  if (selector == FLAT_RING3_SS64 || selector == kRpl) return flat(FLAT_RING3_SS64, kDataWriteAccessed, 3, false);
  const auto found = descriptor(selector);
  if (!found) return std::nullopt;
  const kvm_segment segment = from_descriptor(selector, *found);
  if (!is_for_ring3(segment) || (segment.type & kTypeCode) || !(segment.type & kTypeWritable)) return std::nullopt;
  return segment;
}

kvm_segment SegmentLoader::data(uint16_t selector) const {
  if ((selector & ~kRpl) == 0) return null_segment();
  if (selector == FLAT_RING3_DS32) return flat(selector, kDataWriteAccessed, 3, false);
  const auto found = descriptor(selector | kRpl);
  if (!found) return null_segment();
  const kvm_segment segment = from_descriptor(selector | kRpl, *found);
  return is_for_ring3(segment) ? segment : null_segment();
}

}  // namespace xenopolis::vcpu::kvm
