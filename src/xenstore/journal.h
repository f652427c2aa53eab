// What survives the daemon: a file, mostly memory that polis-keeper holds (memfd_create(2)), into which every change is
// written before anybody hears of it. A process that is killed loses nothing that it has stored there.
//
//   0         header: magic, version, and `head`: which region counts, and how many of its bytes
//   4 KiB     ring words, 32,752 x 8 B: how far each domain's ring has come, see ring_progress.h
//   1 MiB     region 0: records, one behind the other
//   16 GiB    region 1
//
// A batch of records becomes valid with one store to `head`. One region counts; now and then a checkpoint writes what
// is still true into the other, and the store to `head` that changes over is the only moment that matters.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "xenstore/record.h"

namespace xenopolis::xenstore {

// Belongs to one thread of one process.
class Journal {
 public:
  // An empty file becomes a new journal, any other is continued. EBUSY: another process has it; EINVAL: it is something
  // else, or another version's.
  static Result<std::unique_ptr<Journal>> open(Fd file);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  // The valid records. Stays as it is, and valid, until the next switch_over().
  std::string_view contents() const { return {region(active()), length()}; }
  uint64_t length() const;

  // Room for `bytes` of records more than have been added is there, or has been made. False: the disk is full.
  bool make_room(size_t bytes) { return make_room(active(), length() + batch_.size() + bytes); }
  // Adds a record to the batch.
  void add(uint16_t type, DomId domid, std::string_view payload) { append_record(batch_, type, domid, payload); }
  bool has_batch() const { return !batch_.empty(); }
  // Makes the batch valid, all of it or, if this process dies meanwhile, nothing. False, and the batch is dropped:
  // there was no room.
  bool commit();

  // Where the file is mapped. What was written is read by the next process only.
  std::span<uint8_t> memory() const { return {base_, kFileBytes}; }

  // The other region, for a checkpoint.
  void clear_other();
  bool append_to_other(std::string_view bytes);  // false: the disk is full
  uint64_t other_length() const { return other_length_; }
  // The other region counts from now on. Its contents stand for those of this one.
  void switch_over();

  // See ring_progress.h. The stores of one thread reach the file in their order.
  std::atomic<uint64_t>& ring_word(DomId domid) const;

 private:
  static constexpr uint64_t kRegionOffset[] = {1ull << 20, 16ull << 30};
  static constexpr uint64_t kFileBytes = 32ull << 30;

  struct Header;

  Journal(Fd file, uint8_t* base) : file_(std::move(file)), base_(base) {}
  Header& header() const;
  unsigned active() const;
  char* region(unsigned index) const { return reinterpret_cast<char*>(base_ + kRegionOffset[index]); }
  bool make_room(unsigned index, uint64_t bytes);
  void give_back(unsigned index);

  Fd file_;
  uint8_t* base_;
  std::string batch_;
  uint64_t room_[2] = {0, 0};  // bytes of each region that the disk has promised
  uint64_t other_length_ = 0;
};

}  // namespace xenopolis::xenstore
