#include "toolstack/lost_memory.h"

#include <bit>
#include <vector>

#include "domain/existing.h"
#include "machine/domain_memory.h"

namespace xenopolis::toolstack {
namespace {

machine::Extent extent_of(uint32_t first_chunk, uint32_t chunks) {
  constexpr uint64_t kPagesPerChunk = machine::kChunkSize >> kPageShift;
  return {(machine::kExtentZoneOffset >> kPageShift) + first_chunk * kPagesPerChunk, chunks * kPagesPerChunk};
}

}  // namespace

uint64_t reclaim_lost_memory(machine::Machine& machine) {
  const machine::FrameUse use = machine.frames().use();
  if (!use.is_sound) return 0;
  std::vector<bool> is_accounted_for(use.chunks);
  const auto note = [&](const machine::ChunkRun& run) {
    for (uint32_t chunk = run.first; chunk < run.first + run.count && chunk < use.chunks; ++chunk) {
      is_accounted_for[chunk] = true;
    }
  };
  for (const machine::ChunkRun& run : use.free_chunks) note(run);
  for (const DomId domid : domain::existing_domains(machine)) {
    if (const machine::Extent& extent = machine::memory_of(domid).extent) note(machine::chunks_of(extent));
  }
  uint64_t lost = 0;
  for (uint32_t first = 0; first < use.chunks;) {
    uint32_t count = 0;
    while (first + count < use.chunks && !is_accounted_for[first + count]) ++count;
    // An extent is a power of two.
    const uint32_t freed = std::bit_floor(count);
    if (freed != 0) machine.frames().free_extent(extent_of(first, freed));
    lost += freed;
    first += std::max(freed, 1u);
  }
  return lost * machine::kChunkSize;
}

}  // namespace xenopolis::toolstack
