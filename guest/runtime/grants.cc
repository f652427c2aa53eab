#include "runtime/grants.h"

#include "runtime/atomic.h"

namespace xenopolis::guest::grants {
namespace {

alignas(kPageSize) [[gnu::section(".bss..pages")]] char table_page[kPageSize];
volatile grant_entry_v1_t* table;

gnttab_setup_table_t call;
xen_pfn_t frame;
unsigned call_index;

}  // namespace

void prepare(Multicall& batch) {
  call.dom = DOMID_SELF;
  call.nr_frames = 1;
  call.status = GNTST_general_error;
  set_xen_guest_handle(call.frame_list, &frame);
  call_index = batch.add(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, &call, 1);
}

bool finish(const Multicall& batch) {
  if (batch.result(call_index) != 0 || call.status != GNTST_okay) return false;
  table = static_cast<volatile grant_entry_v1_t*>(domain::map_foreign(frame, table_page));
  return table != nullptr;
}

volatile grant_entry_v1_t& entry(grant_ref_t reference) {
  return table[reference % kCount];
}

// The hypervisor believes an entry as soon as its flags permit: they are written last.
void permit(grant_ref_t reference, domid_t to, const void* page, uint16_t flags) {
  volatile grant_entry_v1_t& grant = entry(reference);
  grant.domid = to;
  grant.frame = static_cast<uint32_t>(domain::gfn_of(page));
  store(grant.flags, static_cast<uint16_t>(GTF_permit_access | flags));
}

bool revoke(grant_ref_t reference) {
  volatile grant_entry_v1_t& grant = entry(reference);
  uint16_t flags = load(grant.flags);
  // Ends when the flags do not change between the two looks: each change is one map or unmap by the other domain.
  while ((flags & (GTF_reading | GTF_writing)) == 0) {
    if (compare_exchange(grant.flags, flags, static_cast<uint16_t>(0))) return true;
  }
  return false;
}

}  // namespace xenopolis::guest::grants
