#include <sys/mman.h>

#include "hypercall/handlers.h"
#include "machine/domain_memory.h"
#include "xen_abi/pv_layout.h"

namespace xenopolis::hypercall::handlers {
namespace {

// The low bits are the command; above, a reservation's first extent not yet done (MEMOP_EXTENT_SHIFT,
// xen/common/memory.c).
constexpr unsigned kCommandBits = 6;
constexpr unsigned kMaxExtentOrder = 9;  // 2 MiB, as Xen's default for ordinary domains

const machine::DomainMemory& memory_of(const Context& context) {
  return machine::memory_of(context.record.domid);
}

// Gives the memory to the host; whoever looks at it afterwards sees zeros.
void discard(const Context& context, Gfn first, uint64_t pages) {
  // Cannot fail: the range is mapped, shared and of whole pages.
  (void)madvise(memory_of(context).page(first), pages << kPageShift, MADV_REMOVE);
}

// The extents of one reservation operation. They cost one unit of work a frame; the work limit bounds the loop.
// Answers how many extents are done, all before the first that does not do, as Xen does.
template <class Extent>
int64_t for_each_extent(Context& context, uint64_t argument, uint64_t start, Extent extent) {
  const auto done_so_far = static_cast<int64_t>(start);
  xen_memory_reservation reservation;
  if (!context.memory.read(argument, reservation) || start > reservation.nr_extents) return done_so_far;
  if (!names_itself(context, reservation.domid) || reservation.extent_order > kMaxExtentOrder) return done_so_far;
  const uint64_t pages = 1ull << reservation.extent_order;
  const auto list = reinterpret_cast<uint64_t>(reservation.extent_start.p);
  for (uint64_t i = start; i < reservation.nr_extents; ++i) {
    Gfn gfn;
    const uint64_t entry = list + i * sizeof gfn;
    if (!take_work(context, pages) || !context.memory.read(entry, gfn) || !extent(gfn, pages)) {
      return static_cast<int64_t>(i);
    }
  }
  return static_cast<int64_t>(reservation.nr_extents);
}

int64_t decrease_reservation(Context& context, uint64_t argument, uint64_t start) {
  return for_each_extent(context, argument, start, [&](Gfn gfn, uint64_t pages) {
    if (!context.vcpu.reservation.give_back(gfn, pages, memory_of(context).ram_pages)) return false;
    discard(context, gfn, pages);
    return true;
  });
}

// Frame numbers do not change: the frame that comes to pseudo-physical address gfn is frame gfn. Hence the list, which
// is to hold the new frames' numbers afterwards, holds them already.
int64_t populate_physmap(Context& context, uint64_t argument, uint64_t start) {
  return for_each_extent(context, argument, start, [&](Gfn gfn, uint64_t pages) {
    return context.vcpu.reservation.take_again(gfn, pages, memory_of(context).ram_pages);
  });
}

int64_t own_reservation(Context& context, uint64_t argument, uint64_t pages) {
  domid_t domid;
  if (!context.memory.read(argument, domid)) return refuse(XenErrno::kFault);
  if (!named_domain(context, domid)) return refuse(XenErrno::kSrch);
  return names_itself(context, domid) ? static_cast<int64_t>(pages) : refuse(XenErrno::kPerm);
}

int64_t machphys_mapping(Context& context, uint64_t argument) {
  if (context.mmu == nullptr) return refuse(XenErrno::kNoSys);
  const uint64_t pages = memory_of(context).ram_pages;
  const xen_machphys_mapping mapping{
      .v_start = pv_layout::kM2pStart, .v_end = pv_layout::m2p_end(pages), .max_mfn = pv_layout::max_mfn(pages)};
  return context.memory.write(argument, mapping) ? 0 : refuse(XenErrno::kFault);
}

// An entry of the map that a PC's firmware makes (ACPI specification, "INT 15H, E820H").
struct [[gnu::packed]] E820Entry {
  uint64_t address;
  uint64_t size;
  uint32_t type;
};
static_assert(sizeof(E820Entry) == 20);
constexpr uint32_t kE820Ram = 1;

int64_t memory_map(Context& context, uint64_t argument) {
  xen_memory_map map;
  if (!context.memory.read(argument, map)) return refuse(XenErrno::kFault);
  const E820Entry entry{0, memory_of(context).ram_pages << kPageShift, kE820Ram};
  map.nr_entries = std::min(map.nr_entries, 1u);
  const auto buffer = reinterpret_cast<uint64_t>(map.buffer.p);
  if (map.nr_entries != 0 && !context.memory.write(buffer, entry)) return refuse(XenErrno::kFault);
  return context.memory.write(argument, map) ? 0 : refuse(XenErrno::kFault);
}

}  // namespace

// memory_op(command, argument)
int64_t memory_op(Context& context, const Arguments& arguments) {
  const uint64_t command = arguments[0] & ((1 << kCommandBits) - 1), start = arguments[0] >> kCommandBits;
  const uint64_t argument = arguments[1], ram_pages = memory_of(context).ram_pages;
  switch (command) {
    case XENMEM_decrease_reservation:
      return decrease_reservation(context, argument, start);
    case XENMEM_populate_physmap:
      return populate_physmap(context, argument, start);
    default:
      break;
  }
  if (start != 0) return refuse(XenErrno::kNoSys);
  switch (command) {
    // No frame comes without a pseudo-physical address.
    case XENMEM_increase_reservation:
      return 0;
    case XENMEM_maximum_ram_page:
      return static_cast<int64_t>(ram_pages);
    case XENMEM_current_reservation:
      return own_reservation(context, argument, ram_pages - context.vcpu.reservation.given_back());
    case XENMEM_maximum_reservation:
      return own_reservation(context, argument, ram_pages);
    case XENMEM_maximum_gpfn:
      return own_reservation(context, argument, ram_pages - 1);
    case XENMEM_machphys_mapping:
      return machphys_mapping(context, argument);
    case XENMEM_memory_map:
      return memory_map(context, argument);
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace xenopolis::hypercall::handlers
