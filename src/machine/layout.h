// Where everything lies in the machine: one sparse memfd, mapped at one address in every trusted process. Cells map the
// extents on demand (Machine::reach), everything else maps all of it.
//
//   kMachineBase   header            4 KiB    magic, size, allocator states
//   + 4 KiB        host              4 KiB    toolstack/host_state.h
//   + 64 KiB       doorbells         4,160 x 128 B
//   + 1 MiB        domain memory     32,768 x 64 B     machine/domain_memory.h
//   + 96 MiB       grant tables      32,768 x 1 KiB    grant/
//   + 128 MiB      event channels    32,768 x 4 KiB    event/
//   + 256 MiB      extent links      1,048,576 x 4 B   machine/frames.h
//   + 320 MiB      statistics        4,105 x 4 KiB     machine/statistics.h
//   + 352 MiB      messages          2 x 4,096 lines   machine/message_ring.h
//   + 384 MiB      traced domains    32,768 x 4 B      machine/trace_ring.h
//   + 400 MiB      traces            16 x 2 MiB        machine/trace_ring.h
//   + 512 MiB      domain records    32,768 x 4 KiB    domain/
//   + 1 GiB        hypervisor pages  up to 31 GiB      machine/frames.h
//   + 32 GiB       extents           the rest          guest memory
//
// Only what is touched costs memory.
#pragma once

#include <cstdint>

#include "xen_abi/xen.h"

namespace xenopolis::machine {

// A machine frame number: (address - kMachineBase) / 4096.
using Frame = uint64_t;

// Free in every process: below the mmap area of a 47-bit address space with full ASLR, and application memory for
// AddressSanitizer (above 0x10007fff8000). ThreadSanitizer lets nobody map there; its application memory that is mostly
// free begins at 0x7e8000000000, and has room for the small machines of tests.
#if defined(__SANITIZE_THREAD__)
#define XENOPOLIS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define XENOPOLIS_THREAD_SANITIZER 1
#endif
#endif
#ifdef XENOPOLIS_THREAD_SANITIZER
inline constexpr uint64_t kMachineBase = 0x7e80'0000'0000;
#else
inline constexpr uint64_t kMachineBase = 0x7d00'0000'0000;
#endif
inline constexpr uint64_t kMaxMachineSize = 1ull << 40;
inline constexpr uint64_t kMinMachineSize = 33ull << 30;

inline constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

inline constexpr uint32_t kCellCount = 4096;   // doorbells of cells: 0..4095
inline constexpr uint32_t kDom0VcpuCount = 8;  // doorbells of Dom0's vCPUs: 4096..4103
inline constexpr uint32_t kDoorbellCount = kCellCount + kDom0VcpuCount;
inline constexpr uint32_t kVcpusPerDoorbell = 64;
inline constexpr uint32_t kDomainSlots = 32768;  // of which kDomIdCount are used

inline constexpr uint64_t kDoorbellStride = 128;
inline constexpr uint64_t kDomainMemoryStride = 64;
inline constexpr uint64_t kDomainRecordStride = 4 * kKiB;
inline constexpr uint64_t kGrantStride = 1 * kKiB;
inline constexpr uint64_t kEventStride = 4 * kKiB;
inline constexpr uint64_t kStatisticsStride = 4 * kKiB;
inline constexpr uint64_t kMessageRingStride = 4 * kMiB;
inline constexpr uint64_t kTraceStride = 2 * kMiB;

inline constexpr uint32_t kMessageRingCount = 2;
inline constexpr uint32_t kTraceCount = 16;

inline constexpr uint64_t kHostOffset = 4 * kKiB;
inline constexpr uint64_t kDoorbellOffset = 64 * kKiB;
inline constexpr uint64_t kDomainMemoryOffset = 1 * kMiB;
inline constexpr uint64_t kGrantOffset = 96 * kMiB;
inline constexpr uint64_t kEventOffset = 128 * kMiB;
inline constexpr uint64_t kExtentLinkOffset = 256 * kMiB;
inline constexpr uint64_t kStatisticsOffset = 320 * kMiB;
inline constexpr uint64_t kMessageOffset = 352 * kMiB;
inline constexpr uint64_t kTracedOffset = 384 * kMiB;
inline constexpr uint64_t kTraceOffset = 400 * kMiB;
inline constexpr uint64_t kDomainRecordOffset = 512 * kMiB;
inline constexpr uint64_t kPageZoneOffset = 1 * kGiB;
inline constexpr uint64_t kExtentZoneOffset = 32 * kGiB;

inline constexpr uint64_t kChunkSize = 2 * kMiB;  // extents are whole chunks, a power of two of them

static_assert(kDoorbellOffset + kDoorbellCount * kDoorbellStride <= kDomainMemoryOffset);
static_assert(kDomainMemoryOffset + kDomainSlots * kDomainMemoryStride <= kGrantOffset);
static_assert(kGrantOffset + kDomainSlots * kGrantStride <= kEventOffset);
static_assert(kEventOffset + kDomainSlots * kEventStride <= kExtentLinkOffset);
static_assert(kExtentLinkOffset + kMaxMachineSize / kChunkSize * sizeof(uint32_t) <= kStatisticsOffset);
static_assert(kStatisticsOffset + (kDoorbellCount + 1) * kStatisticsStride <= kMessageOffset);
static_assert(kMessageOffset + kMessageRingCount * kMessageRingStride <= kTracedOffset);
static_assert(kTracedOffset + kDomainSlots * sizeof(uint32_t) + kPageSize <= kTraceOffset);
static_assert(kTraceOffset + kTraceCount * kTraceStride <= kDomainRecordOffset);
static_assert(kDomainRecordOffset + kDomainSlots * kDomainRecordStride <= kPageZoneOffset);
static_assert(kDomIdCount <= kDomainSlots);

inline uint8_t* address_of(Frame frame) {
  return reinterpret_cast<uint8_t*>(kMachineBase + (frame << kPageShift));
}
inline Frame frame_of(const void* address) {
  return (reinterpret_cast<uint64_t>(address) - kMachineBase) >> kPageShift;
}

// Element `index` of the table at `offset` whose elements are `stride` bytes apart.
template <class T, uint64_t kOffset, uint64_t kStride>
T& table_element(uint64_t index) {
  static_assert(sizeof(T) <= kStride && kStride % alignof(T) == 0);
  return *reinterpret_cast<T*>(kMachineBase + kOffset + index * kStride);
}

}  // namespace xenopolis::machine
