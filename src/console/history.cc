#include "console/history.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "base/fault_point.h"

namespace xenopolis::console {
namespace {

constexpr uint64_t kMagic = 0x534e'4f43'4f4e'4558;  // "XENOCONS"
constexpr uint32_t kVersion = 1;
constexpr uint32_t kDataBytes = 1000;
constexpr uint32_t kChunkHeader = 8;
constexpr uint32_t kLeastChunk = 8;  // bytes of text for which it is worth beginning a chunk

uint32_t key_of(ConsoleId console) {
  return uint32_t{console.domid} << 16 | console.index;
}

struct Chunk {
  uint64_t time_ms;
  uint32_t bytes;
};

Chunk chunk_at(const char* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof(word));
  return {word >> 16, static_cast<uint32_t>(word & 0xffff)};
}
void set_chunk(char* data, const Chunk& chunk) {
  const uint64_t word = chunk.time_ms << 16 | chunk.bytes;
  std::memcpy(data, &word, sizeof(word));
}

}  // namespace

struct History::Header {
  std::atomic<uint64_t> magic;
  uint32_t version;
  std::atomic<uint32_t> slots_used;   // those behind it have never been in use
  std::atomic<uint32_t> blocks_used;  // likewise
  std::atomic<uint64_t> age;          // of the youngest block
};

struct History::State {
  std::atomic<uint32_t> in_use;
  ConsoleId console;
  uint64_t incarnation;
  std::atomic<uint64_t> end;
  std::atomic<uint32_t> ring_base;  // the ring's index less `end`
  std::atomic<uint32_t> log_current;
  LogPosition log[2];
};

struct History::Block {
  std::atomic<uint32_t> owner;  // slot + 1; 0: nobody
  uint32_t reserved;
  uint64_t start;  // offset in the stream
  uint64_t age;
  char data[kDataBytes];
};

Result<std::unique_ptr<History>> History::open(Fd memory, const HistoryLimits& limits) {
  static_assert(sizeof(State) <= kStateBytes && kStatesOffset + kSlots * kStateBytes <= kBlocksOffset);
  static_assert(sizeof(Block) == kBlockBytes && sizeof(LogPosition) == 32);
  if (limits.console_bytes < 4 * kBlockBytes || limits.total_bytes < limits.console_bytes ||
      limits.total_bytes > kMostBlocks * kBlockBytes) {
    return fail(EINVAL,
                "limits of the consoles' history: at least 4 KiB for one, at least that and at most 32 GiB for all");
  }
  // The lock goes with the descriptor; a dead owner has none.
  if (flock(memory.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(errno == EWOULDBLOCK ? EBUSY : errno, "locking the consoles' history");
  }
  struct stat status {};
  if (fstat(memory.get(), &status) != 0) return fail_errno("the history's size");
  if (status.st_size == 0 && ftruncate(memory.get(), static_cast<off_t>(kFileBytes)) != 0) {
    return fail_errno("the history's size");
  }
  if (status.st_size != 0 && static_cast<uint64_t>(status.st_size) != kFileBytes) {
    return fail(EINVAL, "this is no history of consoles");
  }
  void* base = mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory.get(), 0);
  if (base == MAP_FAILED) return fail_errno("mapping the history");
  std::unique_ptr<History> history(new History(std::move(memory), static_cast<uint8_t*>(base), limits));
  Header& header = history->header();
  if (header.magic.load() == 0) {  // new, or its maker died before this
    header.version = kVersion;
    header.magic.store(kMagic, std::memory_order_release);
  }
  if (header.magic.load() != kMagic || header.version != kVersion || header.slots_used.load() > kSlots ||
      header.blocks_used.load() > kMostBlocks) {
    return fail(EINVAL, "this is no history of consoles, or another version's");
  }
  history->recover();
  return history;
}

History::History(Fd file, uint8_t* base, const HistoryLimits& limits)
    : file_(std::move(file)), base_(base), limits_(limits) {}

History::~History() {
  by_age_.clear();
  munmap(base_, kFileBytes);
}

History::Header& History::header() const {
  return *reinterpret_cast<Header*>(base_);
}
History::State& History::state(uint32_t slot) const {
  return *reinterpret_cast<State*>(base_ + kStatesOffset + slot * kStateBytes);
}
History::Block& History::block(uint32_t index) const {
  return *reinterpret_cast<Block*>(base_ + kBlocksOffset + index * kBlockBytes);
}

void History::recover() {
  const uint32_t slots = header().slots_used.load(), blocks = header().blocks_used.load();
  slots_.resize(slots);
  notes_ = std::vector<BlockNote>(std::max<uint64_t>(limits_.total_bytes / kBlockBytes, blocks));
  for (uint32_t slot = slots; slot-- > 0;) {
    if (state(slot).in_use.load() != 0) {
      slot_of_[key_of(state(slot).console)] = slot;
    } else {
      free_slots_.push_back(slot);
    }
  }
  std::vector<uint32_t> owned;
  for (uint32_t index = blocks; index-- > 0;) {
    const uint32_t owner = block(index).owner.load();
    if (owner != 0 && owner <= slots && state(owner - 1).in_use.load() != 0) {
      owned.push_back(index);
    } else {
      // Else it would be of the next stream in that slot.
      if (owner != 0) block(index).owner.store(0);
      give_back(index);
    }
  }
  std::sort(owned.begin(), owned.end(),
            [&](uint32_t one, uint32_t other) { return block(one).age < block(other).age; });
  for (const uint32_t index : owned) adopt(index);
  for (uint32_t slot = 0; slot < slots; ++slot) {
    // Its end must be held, or nothing: a block that should be there is not.
    const SlotNote& note = slots_[slot];
    if (note.last != kNone && block(note.last).start + notes_[note.last].text != state(slot).end.load()) drop_all(slot);
  }
}

// A block of a predecessor, the younger ones after the older ones. What its stream's `end` does not cover never came to
// be.
void History::adopt(uint32_t index) {
  Block& mine = block(index);
  const uint32_t slot = mine.owner.load() - 1;
  SlotNote& stream = slots_[slot];
  const uint64_t end = state(slot).end.load();
  BlockNote& note = notes_[index];
  while (mine.start + note.text < end && note.used + kChunkHeader < kDataBytes) {
    Chunk chunk = chunk_at(mine.data + note.used);
    if (chunk.bytes == 0 || chunk.bytes > kDataBytes - kChunkHeader - note.used) break;
    const uint64_t missing = end - mine.start - note.text;
    if (chunk.bytes > missing) {
      chunk.bytes = static_cast<uint32_t>(missing);
      set_chunk(mine.data + note.used, chunk);
    }
    note.last_chunk = note.used;
    note.used = static_cast<uint16_t>(note.used + kChunkHeader + chunk.bytes);
    note.text = static_cast<uint16_t>(note.text + chunk.bytes);
  }
  if (note.text == 0) {
    mine.owner.store(0);
    return give_back(index);
  }
  if (stream.last != kNone && block(stream.last).start + notes_[stream.last].text != mine.start) drop_all(slot);
  append_block(slot, index);
}

Result<History::Attached> History::attach(ConsoleId console, uint64_t incarnation, uint32_t ring_index) {
  const auto found = slot_of_.find(key_of(console));
  if (found != slot_of_.end()) {
    if (state(found->second).incarnation == incarnation) return Attached{Stream(this, found->second), true};
    forget(Stream(this, found->second));
  }
  if (free_slots_.empty()) {
    const uint32_t used = header().slots_used.load();
    if (used == kSlots) return fail(ENOSPC, "there are 65,536 consoles");
    header().slots_used.store(used + 1);
    slots_.emplace_back();
    free_slots_.push_back(used);
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  State& mine = state(slot);
  mine.console = console;
  mine.incarnation = incarnation;
  mine.end.store(0);
  mine.ring_base.store(ring_index);
  mine.log_current.store(0);
  mine.log[0] = {};
  mine.in_use.store(1, std::memory_order_release);
  slot_of_[key_of(console)] = slot;
  return Attached{Stream(this, slot), false};
}

void History::forget(const Stream& stream) {
  State& mine = state(stream.slot_);
  slot_of_.erase(key_of(mine.console));
  mine.in_use.store(0);
  drop_all(stream.slot_);
  free_slots_.push_back(stream.slot_);
}

void History::append_block(uint32_t slot, uint32_t index) {
  SlotNote& stream = slots_[slot];
  (stream.last == kNone ? stream.first : notes_[stream.last].next) = index;
  stream.last = index;
  ++stream.blocks;
  by_age_.push_back(notes_[index]);
  ++blocks_in_use_;
}

// The oldest of all blocks goes first: not one that is being written to.
void History::renew(uint32_t index) {
  if (&by_age_.back() == &notes_[index]) return;
  by_age_.splice(by_age_.end(), by_age_, by_age_.iterator_to(notes_[index]));
  header().age.store(header().age.load() + 1);
  block(index).age = header().age.load();
}

void History::give_back(uint32_t index) {
  notes_[index] = {};
  free_blocks_.push_back(index);
}

void History::drop_oldest(uint32_t slot) {
  SlotNote& stream = slots_[slot];
  const uint32_t index = stream.first;
  stream.first = notes_[index].next;
  if (stream.first == kNone) stream.last = kNone;
  --stream.blocks;
  by_age_.erase(by_age_.iterator_to(notes_[index]));
  --blocks_in_use_;
  block(index).owner.store(0);
  give_back(index);
}

void History::drop_all(uint32_t slot) {
  while (slots_[slot].first != kNone) drop_oldest(slot);
}

void History::add_block(uint32_t slot, uint64_t start) {
  if (slots_[slot].blocks >= limits_.console_bytes / kBlockBytes) drop_oldest(slot);
  if (free_blocks_.empty()) {
    const uint32_t used = header().blocks_used.load();
    if (used < limits_.total_bytes / kBlockBytes) {
      header().blocks_used.store(used + 1);
      free_blocks_.push_back(used);
    } else {
      drop_oldest(block(index_of(by_age_.front())).owner.load() - 1);
    }
  }
  const uint32_t index = free_blocks_.back();
  free_blocks_.pop_back();
  Block& mine = block(index);
  mine.start = start;
  mine.age = header().age.load() + 1;
  header().age.store(mine.age);
  set_chunk(mine.data, {});
  mine.owner.store(slot + 1, std::memory_order_release);
  append_block(slot, index);
}

uint64_t Stream::begin() const {
  const uint32_t first = history_->slots_[slot_].first;
  return first == History::kNone ? end() : history_->block(first).start;
}

uint64_t Stream::end() const {
  return history_->state(slot_).end.load(std::memory_order_relaxed);
}

void Stream::append(std::string_view text, uint64_t time_ms) {
  CHECK(text.size() <= history_->limits_.console_bytes / 2);
  History::State& state = history_->state(slot_);
  uint64_t end = state.end.load(std::memory_order_relaxed);
  while (!text.empty()) {
    const uint32_t last = history_->slots_[slot_].last;
    if (last == History::kNone) {
      history_->add_block(slot_, end);
      continue;
    }
    History::BlockNote& note = history_->notes_[last];
    history_->renew(last);
    char* data = history_->block(last).data;
    Chunk chunk = chunk_at(data + note.last_chunk);
    uint32_t room = kDataBytes - note.used;
    if (note.used == 0 || chunk.time_ms != time_ms) {
      if (room < kChunkHeader + kLeastChunk) {
        history_->add_block(slot_, end);
        continue;
      }
      room -= kChunkHeader;
      note.last_chunk = note.used;
      note.used = static_cast<uint16_t>(note.used + kChunkHeader);
      chunk = {time_ms, 0};
    } else if (room == 0) {
      history_->add_block(slot_, end);
      continue;
    }
    const auto bytes = static_cast<uint32_t>(std::min<size_t>(text.size(), room));
    text.copy(data + note.used, bytes);
    chunk.bytes += bytes;
    // A successor finds the end of the block's chunks by the first one that is empty.
    note.used = static_cast<uint16_t>(note.used + bytes);
    if (note.used + kChunkHeader <= kDataBytes) set_chunk(data + note.used, {});
    set_chunk(data + note.last_chunk, chunk);
    note.text = static_cast<uint16_t>(note.text + bytes);
    end += bytes;
    text.remove_prefix(bytes);
  }
  fault_point("console history: appended");
  state.end.store(end, std::memory_order_release);
}

uint32_t History::find_block(uint32_t slot, const Cursor& cursor) const {
  const auto holds = [&](uint32_t index) {
    const Block& candidate = block(index);
    return candidate.owner.load(std::memory_order_relaxed) == slot + 1 && candidate.start <= cursor.offset &&
           cursor.offset < candidate.start + notes_[index].text;
  };
  if (cursor.block < notes_.size() && block(cursor.block).owner.load(std::memory_order_relaxed) == slot + 1) {
    if (holds(cursor.block)) return cursor.block;
    const uint32_t next = notes_[cursor.block].next;
    if (next != kNone && holds(next)) return next;
  }
  uint32_t index = slots_[slot].first;
  while (!holds(index)) index = notes_[index].next;
  return index;
}

Piece Stream::next(Cursor& cursor, uint64_t& missed) const {
  if (const uint64_t first = begin(); cursor.offset < first) {
    missed += first - cursor.offset;
    cursor.offset = first;
  }
  if (cursor.offset >= end()) return {};
  cursor.block = history_->find_block(slot_, cursor);
  const History::Block& block = history_->block(cursor.block);
  uint64_t offset = block.start;
  for (uint32_t at = 0;;) {
    const Chunk chunk = chunk_at(block.data + at);
    if (cursor.offset < offset + chunk.bytes) {
      const auto skipped = static_cast<uint32_t>(cursor.offset - offset);
      const Piece piece{{block.data + at + kChunkHeader + skipped, chunk.bytes - skipped}, chunk.time_ms};
      cursor.offset += piece.text.size();
      return piece;
    }
    offset += chunk.bytes;
    at += kChunkHeader + chunk.bytes;
  }
}

Cursor Stream::since(uint64_t time_ms) const {
  Cursor cursor{begin(), 0};
  uint64_t missed = 0;
  for (;;) {
    const Cursor here = cursor;
    const Piece piece = next(cursor, missed);
    if (piece.text.empty() || piece.time_ms >= time_ms) return here;
  }
}

Cursor Stream::last(uint64_t bytes) const {
  const uint64_t last = end();
  return {std::max(begin(), last - std::min(bytes, last)), 0};
}

uint32_t Stream::ring_index() const {
  return history_->state(slot_).ring_base.load(std::memory_order_relaxed) + static_cast<uint32_t>(end());
}

void Stream::set_ring_index(uint32_t index) {
  history_->state(slot_).ring_base.store(index - static_cast<uint32_t>(end()));
}

LogPosition Stream::log_position() const {
  const History::State& state = history_->state(slot_);
  return state.log[state.log_current.load() & 1];
}

void Stream::set_log_position(const LogPosition& position) {
  History::State& state = history_->state(slot_);
  const uint32_t other = ~state.log_current.load() & 1;
  state.log[other] = position;
  state.log_current.store(other, std::memory_order_release);
}

}  // namespace xenopolis::console
