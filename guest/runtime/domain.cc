#include "runtime/domain.h"

extern "C" {
// Of its own size, so that it crosses no page, as VCPUOP_register_vcpu_info demands.
alignas(64) vcpu_info_t this_vcpu;
}

namespace xenopolis::guest {

static_assert(sizeof(vcpu_info_t) == 64);

Domain domain_self;

namespace {

constexpr unsigned kSparePages = (512 << 10) / kPageSize;

alignas(kPageSize) [[gnu::section(".bss..pages")]] char shared_info_page[kPageSize];
shared_info_t* shared_info_pointer;

struct StartCalls {
  xen_feature_info_t features;
  vcpu_register_vcpu_info_t vcpu_info;
  unsigned features_index;
  unsigned vcpu_info_index;
};
StartCalls calls;

}  // namespace

namespace domain {

void prepare(Multicall& batch, const start_info_t* info) {
  domain_self.info = info;
  // This runs on the bootstrap stack, which is one page.
  domain_self.spare_pages =
      reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) | (kPageSize - 1)) + 1);
  calls.features.submap_idx = 0;
  calls.features_index = batch.add(__HYPERVISOR_xen_version, XENVER_get_features, &calls.features);
  calls.vcpu_info.mfn = gfn_of(&this_vcpu);
  calls.vcpu_info.offset = reinterpret_cast<uintptr_t>(&this_vcpu) & (kPageSize - 1);
  this_vcpu.evtchn_upcall_mask = 1;
  calls.vcpu_info_index = batch.add(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, 0, &calls.vcpu_info);
  // Xen starts a PV vCPU with a 100 Hz tick.
  batch.add(__HYPERVISOR_vcpu_op, VCPUOP_stop_periodic_timer, 0, nullptr);
}

void finish(const Multicall& batch) {
  if (batch.result(calls.features_index) == 0) domain_self.features = calls.features.submap;
  domain_self.vcpu_info_moved = batch.result(calls.vcpu_info_index) == 0;
}

void* map_foreign(uint64_t gfn, void* page) {
  if (auto_translated()) return at_gfn<void>(gfn);
  if (update_va_mapping(page, gfn << kPageShift | kReadWritePage, UVMF_INVLPG | UVMF_LOCAL) != 0) return nullptr;
  return page;
}

void* spare_page(unsigned index) {
  char* page = domain_self.spare_pages + index * kPageSize;
  return index < kSparePages && gfn_of(page) < domain_self.info->nr_pages ? page : nullptr;
}

shared_info_t& shared_info() {
  if (shared_info_pointer == nullptr) {
    shared_info_pointer =
        static_cast<shared_info_t*>(map_foreign(domain_self.info->shared_info >> kPageShift, shared_info_page));
    // Nothing works without it, and there is nowhere to say so.
    if (shared_info_pointer == nullptr) __builtin_trap();
  }
  return *shared_info_pointer;
}

vcpu_info_t& vcpu() {
  return domain_self.vcpu_info_moved ? this_vcpu : shared_info().vcpu_info[0];
}

}  // namespace domain
}  // namespace xenopolis::guest
