// Who owns which machine frame: single pages for the hypervisor's structures, extents for guest memory.
//
// Both allocators are made of single-word updates under a robust lock: an allocator that dies halfway leaks at most the
// one page or extent that it had in hand, and the free lists stay whole.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "machine/layout.h"
#include "machine/robust_lock.h"

namespace xenopolis::machine {

// A run of frames. `pages` is what was asked for; what is reserved is rounded up to whole chunks, a power of two.
struct Extent {
  Frame first = 0;
  uint64_t pages = 0;

  uint8_t* begin() const { return address_of(first); }
  uint64_t size() const { return pages << kPageShift; }
  explicit operator bool() const { return pages != 0; }
};

// State in the machine's header. All fields are guarded by `lock`.
struct PageZone {
  RobustLock lock;
  uint64_t free_head;  // address of the first free page, whose first word is the next one's address; 0: none
  uint64_t bump;       // address of the first page never used
  uint64_t end;
  uint64_t used_pages;  // an estimate after a crash, else exact
};

inline constexpr unsigned kExtentClasses = 20;  // 2^0 .. 2^19 chunks

struct ExtentZone {
  RobustLock lock;
  std::array<uint32_t, kExtentClasses> free_head;  // per class: chunk number + 1 of a free extent; 0: none
  uint32_t bump_chunk;                             // first chunk never used
  uint32_t chunk_count;
};

// Chunks of the extents' zone, by number.
struct ChunkRun {
  uint32_t first = 0;
  uint32_t count = 0;
};
// What `extent` occupies: what was asked for, rounded up.
ChunkRun chunks_of(const Extent& extent);

// What was given out at any time, and what of it is free again: the rest must be somebody's.
struct FrameUse {
  uint32_t chunks = 0;  // 0 .. chunks - 1
  std::vector<ChunkRun> free_chunks;
  uint64_t pages = 0;
  uint64_t free_pages = 0;
  bool is_sound = true;  // false: a list of free ones leads somewhere else, or in a circle
};

class Frames {
 public:
  // `memfd` is needed to give memory back to the host.
  Frames(PageZone& pages, ExtentZone& extents, int memfd) : pages_(pages), extents_(extents), memfd_(memfd) {}

  static void format(PageZone& pages, ExtentZone& extents, uint64_t machine_size);

  // One zeroed page, or nullptr when the zone is used up. O(1).
  void* allocate_page();
  void free_page(void* page);
  uint64_t used_pages() const { return pages_.used_pages; }

  // `pages` frames that read as zero. ENOMEM when no run is long enough. O(log of the size).
  Result<Extent> allocate_extent(uint64_t pages);
  // Gives the memory back to the host at once.
  void free_extent(const Extent& extent);

  // For audits. Holds the allocators' locks for as long as it takes to walk through what is free.
  FrameUse use();

 private:
  PageZone& pages_;
  ExtentZone& extents_;
  int memfd_;
};

}  // namespace xenopolis::machine
