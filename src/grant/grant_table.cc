#include "grant/grant_table.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>

#include "machine/domain_memory.h"
#include "machine/robust_lock.h"

namespace xenopolis::grant {
namespace {

using machine::RobustGuard;
using machine::RobustLock;

// A grant in use: what the guest must not be able to change any more. Unused: both counts are 0.
struct ActiveGrant {
  uint32_t frame;
  uint16_t readers;  // read-only mappings
  uint16_t writers;
};
static_assert(sizeof(ActiveGrant) == sizeof(grant_entry_v1_t));

using ActivePage = std::array<ActiveGrant, kEntriesPerFrame>;

// A domain's part of the grant table area. `lock` guards all below, `exists`, `frames` and `mappings` being atomics for
// those who only look. There is nothing to repair: each step below leaves a consistent state, at worst with a grant in
// use that nobody maps.
struct DomainGrants {
  RobustLock lock;
  std::atomic<uint32_t> lock_ready;  // the lock stays for the life of the machine once it was made
  std::atomic<uint32_t> exists;
  std::atomic<uint32_t> frames;
  uint32_t max_frames;
  Gfn first_frame;
  std::atomic<uint32_t> mappings;
  ActivePage* active[kFrameLimit];  // one page for each of `frames`, from its first mapping on
};
static_assert(sizeof(DomainGrants) <= machine::kGrantStride);

DomainGrants& grants_of(DomId domid) {
  return machine::table_element<DomainGrants, machine::kGrantOffset, machine::kGrantStride>(domid);
}

void nothing_to_repair() {}

bool exists(DomId domid) {
  return domid < kDomIdCount && grants_of(domid).exists.load(std::memory_order_acquire) != 0;
}

// The first 32 bits of an entry, which Xen and guest change as one (struct grant_entry_header).
struct Header {
  uint16_t flags;
  domid_t domid;
};
static_assert(sizeof(Header) == sizeof(uint32_t) && offsetof(grant_entry_v1_t, domid) == offsetof(Header, domid));

class Entry {
 public:
  explicit Entry(grant_entry_v1_t& entry)
      : header_(*reinterpret_cast<uint32_t*>(&entry)), flags_(entry.flags), frame_(entry.frame) {}

  // Marks the grant as used by `mapper`, if it says that it may. Bound: four tries; a guest that keeps changing the
  // entry meanwhile gets an error, as in Xen.
  int16_t mark_used(DomId mapper, bool read_only) {
    constexpr int kTries = 4;
    uint32_t present = __atomic_load_n(&header_, __ATOMIC_ACQUIRE);
    for (int i = 0; i < kTries; ++i) {
      Header header = __builtin_bit_cast(Header, present);
      const bool offered = (header.flags & GTF_type_mask) == GTF_permit_access && (header.flags & GTF_sub_page) == 0;
      if (!offered || header.domid != mapper) return GNTST_general_error;
      if (!read_only && (header.flags & GTF_readonly) != 0) return GNTST_general_error;
      header.flags = static_cast<uint16_t>(header.flags | GTF_reading | (read_only ? 0 : GTF_writing));
      const auto wanted = __builtin_bit_cast(uint32_t, header);
      if (__atomic_compare_exchange_n(&header_, &present, wanted, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return GNTST_okay;
      }
    }
    return GNTST_general_error;
  }

  uint32_t frame() const { return __atomic_load_n(&frame_, __ATOMIC_ACQUIRE); }
  void clear(uint16_t flags) { __atomic_fetch_and(&flags_, static_cast<uint16_t>(~flags), __ATOMIC_RELEASE); }

 private:
  uint32_t& header_;
  uint16_t& flags_;
  uint32_t& frame_;
};

Entry entry_of(const DomainGrants& grants, DomId domid, grant_ref_t reference) {
  uint8_t* page = machine::memory_of(domid).page(grants.first_frame + reference / kEntriesPerFrame);
  return Entry(reinterpret_cast<grant_entry_v1_t*>(page)[reference % kEntriesPerFrame]);
}

uint16_t unused_flags(const ActiveGrant& active) {
  return static_cast<uint16_t>((active.writers == 0 ? GTF_writing : 0) |
                               (active.writers == 0 && active.readers == 0 ? GTF_reading : 0));
}

}  // namespace

void GrantTables::create_domain(DomId domid, Gfn first_frame, uint32_t max_frames) {
  DomainGrants& grants = grants_of(domid);
  if (grants.lock_ready.exchange(1, std::memory_order_acq_rel) == 0) grants.lock.init();
  RobustGuard guard(grants.lock, nothing_to_repair);
  grants.first_frame = first_frame;
  grants.max_frames = std::min(max_frames, kFrameLimit);
  grants.frames.store(std::min(1u, grants.max_frames), std::memory_order_relaxed);
  grants.mappings.store(0, std::memory_order_relaxed);
  grants.exists.store(1, std::memory_order_release);
}

void GrantTables::destroy_domain(DomId domid) {
  if (domid >= kDomIdCount) return;
  DomainGrants& grants = grants_of(domid);
  // Also what does not exist any more may have pages: those of a destruction that was cut short.
  if (grants.lock_ready.load(std::memory_order_acquire) == 0) return;
  RobustGuard guard(grants.lock, nothing_to_repair);
  grants.exists.store(0, std::memory_order_release);
  grants.frames.store(0, std::memory_order_relaxed);
  grants.mappings.store(0, std::memory_order_relaxed);
  for (ActivePage*& page : grants.active) {
    if (page != nullptr) machine_.frames().free_page(std::exchange(page, nullptr));
  }
}

int16_t GrantTables::setup_table(DomId domid, uint32_t frames, uint64_t* gfns) {
  if (!exists(domid)) return GNTST_bad_domain;
  DomainGrants& grants = grants_of(domid);
  RobustGuard guard(grants.lock, nothing_to_repair);
  if (frames > grants.max_frames) return GNTST_general_error;
  if (frames > grants.frames.load(std::memory_order_relaxed)) grants.frames.store(frames, std::memory_order_release);
  for (uint32_t i = 0; i < frames; ++i) gfns[i] = grants.first_frame + i;
  return GNTST_okay;
}

uint32_t GrantTables::frames(DomId domid) const {
  return exists(domid) ? grants_of(domid).frames.load(std::memory_order_acquire) : 0;
}

uint32_t GrantTables::max_frames(DomId domid) const {
  return exists(domid) ? grants_of(domid).max_frames : 0;
}

uint32_t GrantTables::mappings(DomId domid) const {
  return exists(domid) ? grants_of(domid).mappings.load(std::memory_order_acquire) : 0;
}

int16_t GrantTables::map(DomId mapper, DomId domid, grant_ref_t reference, bool read_only, void** page) {
  if (mapper != kDom0) return GNTST_permission_denied;
  if (!exists(domid)) return GNTST_bad_domain;
  DomainGrants& grants = grants_of(domid);
  RobustGuard guard(grants.lock, nothing_to_repair);
  if (!exists(domid)) return GNTST_bad_domain;
  if (reference / kEntriesPerFrame >= grants.frames.load(std::memory_order_relaxed)) return GNTST_bad_gntref;

  ActivePage*& active_page = grants.active[reference / kEntriesPerFrame];
  if (active_page == nullptr) active_page = static_cast<ActivePage*>(machine_.frames().allocate_page());
  if (active_page == nullptr) return GNTST_no_device_space;
  ActiveGrant& active = (*active_page)[reference % kEntriesPerFrame];
  uint16_t& count = read_only ? active.readers : active.writers;
  if (count >= kMaxMappings) return GNTST_general_error;

  Entry entry = entry_of(grants, domid, reference);
  const bool in_use = active.readers != 0 || active.writers != 0;
  // A use that the guest has been shown already covers this one: its leave is not asked for again.
  const bool covered = in_use && (read_only || active.writers != 0);
  if (!covered) {
    const int16_t status = entry.mark_used(mapper, read_only);
    if (status != GNTST_okay) return status;
  }
  if (!in_use) active.frame = entry.frame();  // once; only now, because it is stable only while in use
  uint8_t* const granted = machine::memory_of(domid).ram_page(active.frame);
  if (granted == nullptr) {
    if (!covered) entry.clear(unused_flags(active));
    return GNTST_general_error;
  }
  ++count;
  grants.mappings.fetch_add(1, std::memory_order_relaxed);
  *page = granted;
  return GNTST_okay;
}

int16_t GrantTables::unmap(DomId mapper, DomId domid, grant_ref_t reference, bool read_only) {
  if (mapper != kDom0) return GNTST_permission_denied;
  if (!exists(domid)) return GNTST_bad_domain;
  DomainGrants& grants = grants_of(domid);
  RobustGuard guard(grants.lock, nothing_to_repair);
  if (!exists(domid)) return GNTST_bad_domain;
  if (reference / kEntriesPerFrame >= grants.frames.load(std::memory_order_relaxed)) return GNTST_bad_gntref;
  ActivePage* active_page = grants.active[reference / kEntriesPerFrame];
  if (active_page == nullptr) return GNTST_bad_handle;
  ActiveGrant& active = (*active_page)[reference % kEntriesPerFrame];
  uint16_t& count = read_only ? active.readers : active.writers;
  if (count == 0) return GNTST_bad_handle;
  --count;
  grants.mappings.fetch_sub(1, std::memory_order_relaxed);
  if (const uint16_t flags = unused_flags(active)) entry_of(grants, domid, reference).clear(flags);
  return GNTST_okay;
}

}  // namespace xenopolis::grant
