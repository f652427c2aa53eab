#include "machine/frames.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <bit>
#include <cstring>

namespace xenopolis::machine {
namespace {

// The lists are whole after every store, so there is nothing to repair.
constexpr auto kNothingToRepair = [] {};

uint64_t chunk_address(uint32_t chunk) {
  return kMachineBase + kExtentZoneOffset + chunk * kChunkSize;
}
uint32_t& chunk_link(uint32_t chunk) {
  return table_element<uint32_t, kExtentLinkOffset, sizeof(uint32_t)>(chunk);
}

unsigned class_of(uint64_t pages) {
  const uint64_t chunks = ((pages << kPageShift) + kChunkSize - 1) / kChunkSize;
  return static_cast<unsigned>(std::bit_width(std::bit_ceil(chunks)) - 1);
}

uint32_t chunk_of(Frame frame) {
  return static_cast<uint32_t>(((frame << kPageShift) - kExtentZoneOffset) / kChunkSize);
}

}  // namespace

ChunkRun chunks_of(const Extent& extent) {
  return {chunk_of(extent.first), 1u << class_of(extent.pages)};
}

void Frames::format(PageZone& pages, ExtentZone& extents, uint64_t machine_size) {
  pages.lock.init();
  pages.free_head = 0;
  pages.bump = kMachineBase + kPageZoneOffset;
  pages.end = kMachineBase + kExtentZoneOffset;
  pages.used_pages = 0;
  extents.lock.init();
  extents.free_head.fill(0);
  extents.bump_chunk = 0;
  extents.chunk_count = static_cast<uint32_t>((machine_size - kExtentZoneOffset) / kChunkSize);
}

void* Frames::allocate_page() {
  uint64_t page = 0;
  {
    RobustGuard guard(pages_.lock, kNothingToRepair);
    page = pages_.free_head;
    if (page != 0) {
      pages_.free_head = *reinterpret_cast<uint64_t*>(page);
    } else if (pages_.bump < pages_.end) {
      page = pages_.bump;
      pages_.bump += kPageSize;
    } else {
      return nullptr;
    }
    ++pages_.used_pages;
  }
  return std::memset(reinterpret_cast<void*>(page), 0, kPageSize);
}

void Frames::free_page(void* page) {
  RobustGuard guard(pages_.lock, kNothingToRepair);
  *static_cast<uint64_t*>(page) = pages_.free_head;
  pages_.free_head = reinterpret_cast<uint64_t>(page);
  --pages_.used_pages;
}

Result<Extent> Frames::allocate_extent(uint64_t pages) {
  if (pages == 0 || pages > (kMaxMachineSize >> kPageShift)) {
    return fail(EINVAL, fmt::format("an extent of {} pages", pages));
  }
  const unsigned size_class = class_of(pages);
  RobustGuard guard(extents_.lock, kNothingToRepair);
  uint32_t chunk = 0;
  if (size_class < kExtentClasses && extents_.free_head[size_class] != 0) {
    chunk = extents_.free_head[size_class] - 1;
    extents_.free_head[size_class] = chunk_link(chunk);
  } else if (size_class < kExtentClasses && extents_.chunk_count - extents_.bump_chunk >= (1u << size_class)) {
    chunk = extents_.bump_chunk;
    extents_.bump_chunk += 1u << size_class;
  } else {
    return fail(ENOMEM, fmt::format("the machine has no run of {} frames left", pages));
  }
  return Extent{frame_of(reinterpret_cast<void*>(chunk_address(chunk))), pages};
}

void Frames::free_extent(const Extent& extent) {
  const uint64_t offset = extent.first << kPageShift;
  // Before the extent can be handed out again: its next owner must find zeros.
  CHECK(fallocate(memfd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(extent.size())) == 0);
  const unsigned size_class = class_of(extent.pages);
  const uint32_t chunk = chunk_of(extent.first);
  RobustGuard guard(extents_.lock, kNothingToRepair);
  chunk_link(chunk) = extents_.free_head[size_class];
  extents_.free_head[size_class] = chunk + 1;
}

FrameUse Frames::use() {
  FrameUse use;
  {
    RobustGuard guard(extents_.lock, kNothingToRepair);
    use.chunks = extents_.bump_chunk;
    for (unsigned size_class = 0; size_class < kExtentClasses; ++size_class) {
      for (uint32_t link = extents_.free_head[size_class]; link != 0; link = chunk_link(link - 1)) {
        // A list is no longer than there are chunks.
        if (link > use.chunks || use.free_chunks.size() > use.chunks) {
          use.is_sound = false;
          break;
        }
        use.free_chunks.push_back({link - 1, 1u << size_class});
      }
    }
  }
  RobustGuard guard(pages_.lock, kNothingToRepair);
  const uint64_t begin = kMachineBase + kPageZoneOffset;
  use.pages = (pages_.bump - begin) / kPageSize;
  for (uint64_t page = pages_.free_head; page != 0; page = *reinterpret_cast<uint64_t*>(page)) {
    if (page < begin || page >= pages_.bump || page % kPageSize != 0 || use.free_pages == use.pages) {
      use.is_sound = false;
      break;
    }
    ++use.free_pages;
  }
  return use;
}

}  // namespace xenopolis::machine
