#include "xenstore/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "base/fault_point.h"
#include "base/log.h"

namespace xenopolis::xenstore {
namespace {

constexpr uint64_t kMagic = 0x65726f7473786f70;  // "poxstore"
constexpr uint32_t kVersion = 1;
constexpr uint64_t kWordsOffset = 4096;
constexpr uint64_t kRoomStep = 1ull << 20;
constexpr unsigned kActiveBit = 63;  // of `head`; below it the length

}  // namespace

struct Journal::Header {
  std::atomic<uint64_t> magic;
  uint32_t version;
  std::atomic<uint64_t> head;
};

Result<std::unique_ptr<Journal>> Journal::open(Fd file) {
  // The lock goes with the descriptor, also through fork and exec; a dead owner has none.
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) return fail_errno("the journal is in use: locking it");
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return fail_errno("the journal's size");
  const bool is_new = status.st_size == 0;
  if (is_new && ftruncate(file.get(), static_cast<off_t>(kFileBytes)) != 0) return fail_errno("the journal's size");
  if (!is_new && static_cast<uint64_t>(status.st_size) != kFileBytes) return fail(EINVAL, "this is no journal");
  if (fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, kRegionOffset[0]) != 0) {
    return fail_errno("1 MiB for the journal's header");
  }
  void* base = mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.get(), 0);
  if (base == MAP_FAILED) return fail_errno("mapping the journal");
  std::unique_ptr<Journal> journal(new Journal(std::move(file), static_cast<uint8_t*>(base)));
  Header& header = journal->header();
  if (header.magic.load() == 0) {  // new, or its maker died before this
    header.version = kVersion;
    header.magic.store(kMagic, std::memory_order_release);
  }
  if (header.magic.load() != kMagic) return fail(EINVAL, "this is no journal");
  if (header.version != kVersion) return fail(EINVAL, "this journal is of another version");
  if (journal->length() > kRegionOffset[1] - kRegionOffset[0]) return fail(EINVAL, "the journal is damaged");
  journal->room_[journal->active()] = journal->length() / kRoomStep * kRoomStep;
  return journal;
}

Journal::~Journal() {
  munmap(base_, kFileBytes);
}

Journal::Header& Journal::header() const {
  return *reinterpret_cast<Header*>(base_);
}

unsigned Journal::active() const {
  return static_cast<unsigned>(header().head.load(std::memory_order_relaxed) >> kActiveBit);
}

uint64_t Journal::length() const {
  return header().head.load(std::memory_order_relaxed) & ~(1ull << kActiveBit);
}

std::atomic<uint64_t>& Journal::ring_word(DomId domid) const {
  static_assert(kWordsOffset + kDomIdCount * sizeof(uint64_t) <= kRegionOffset[0]);
  return reinterpret_cast<std::atomic<uint64_t>*>(base_ + kWordsOffset)[domid];
}

// Blocks are asked for before they are written to: a store to a file whose disk is full would be a SIGBUS.
bool Journal::make_room(unsigned index, uint64_t bytes) {
  if (bytes <= room_[index]) return true;
  const uint64_t more = std::max(kRoomStep, (bytes - room_[index] + kRoomStep - 1) / kRoomStep * kRoomStep);
  if (kRegionOffset[0] + room_[index] + more > kRegionOffset[1]) return false;
  if (fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(kRegionOffset[index] + room_[index]),
                static_cast<off_t>(more)) != 0) {
    return false;
  }
  room_[index] += more;
  return true;
}

bool Journal::commit() {
  const bool has_room = make_room(0);
  if (has_room) {
    std::memcpy(region(active()) + length(), batch_.data(), batch_.size());
    fault_point("journal: batch written");
    header().head.store(header().head.load(std::memory_order_relaxed) + batch_.size(), std::memory_order_release);
    fault_point("journal: batch valid");
  }
  batch_.clear();
  return has_room;
}

void Journal::give_back(unsigned index) {
  room_[index] = 0;
  if (fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(kRegionOffset[index]),
                static_cast<off_t>(kRegionOffset[1] - kRegionOffset[0])) != 0) {
    log::warn("the journal's old half keeps its memory: {}", std::strerror(errno));
  }
}

void Journal::clear_other() {
  other_length_ = 0;
  give_back(1 - active());
}

bool Journal::append_to_other(std::string_view bytes) {
  const unsigned other = 1 - active();
  fault_point("checkpoint: slice");
  if (!make_room(other, other_length_ + bytes.size())) return false;
  std::memcpy(region(other) + other_length_, bytes.data(), bytes.size());
  other_length_ += bytes.size();
  return true;
}

void Journal::switch_over() {
  const uint64_t other = 1 - active();
  header().head.store(other << kActiveBit | other_length_, std::memory_order_release);
  fault_point("checkpoint: switched over");
  clear_other();
}

}  // namespace xenopolis::xenstore
