// What consoles have written lately, in memory that polis-keeper holds: it outlives the daemon. One stream for each
// console, and many cursors into it: its log, those who are attached, those who look back.
//
//   0         header: magic, version, how many states and blocks have been in use
//   4 KiB     states, 65,536 x 128 B: where a console's stream stands
//   32 MiB    blocks of 1 KiB: a header of 24 B and 1,000 B of chunks
//
// A chunk is what was taken from a ring at one time: 8 bytes (48 bits of milliseconds since 1970, 16 bits of length),
// then the text. A byte belongs to the stream as soon as the state's `end` covers it, and the guest's ring is told
// after that: so a daemon that is killed loses nothing that it has taken, and takes nothing twice.
//
// Bounds: a console holds at most `console_bytes` of blocks, all of them `total_bytes`; then the oldest text of that
// console, or the oldest of all, goes. No cursor holds it back: who comes too late learns how much he has missed.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "console/console_protocol.h"

namespace xenopolis::console {

struct HistoryLimits {
  uint32_t console_bytes = 64 * 1024;         // at least 4 KiB
  uint64_t total_bytes = uint64_t{64} << 20;  // at least console_bytes, at most 32 GiB
};

// Where a log stands: so much of the stream is in it, and that made it so long.
struct LogPosition {
  uint64_t logged = 0;      // offset in the stream
  uint64_t file_bytes = 0;  // of the file that is being written
  uint64_t dropped = 0;     // bytes before `logged` that the log lacks and does not say so yet
  uint32_t at_line_start = 1;
  uint32_t has_file = 0;  // the file has been opened for this stream: file_bytes says where it continues
};

// A place in one stream. Offsets count the bytes that the guest has written since its console was attached.
struct Cursor {
  uint64_t offset = 0;
  uint32_t block = 0;  // a hint, History's own
};

// Text that came at one time.
struct Piece {
  std::string_view text;
  uint64_t time_ms = 0;  // since 1970
};

class History;

// One console's stream. A handle: a copy is the same stream, until it is forgotten.
class Stream {
 public:
  Stream() = default;

  uint64_t begin() const;  // offset of the oldest byte that is held
  uint64_t end() const;    // so many bytes have been written

  // At most half of HistoryLimits::console_bytes.
  void append(std::string_view text, uint64_t time_ms);

  // The text at the cursor, which moves behind it; at most a block's. Empty at the end. A cursor before begin() is set
  // there first, and `missed` grows by the bytes in between. Valid until the next append() to any stream.
  Piece next(Cursor& cursor, uint64_t& missed) const;
  // The first text that was written at that time or later: the end if there is none. Costs what is held of the stream.
  Cursor since(uint64_t time_ms) const;
  // At most `bytes` before the end.
  Cursor last(uint64_t bytes) const;

  // The ring's index that goes with end(): where the next byte is to be taken from.
  uint32_t ring_index() const;
  void set_ring_index(uint32_t index);

  LogPosition log_position() const;
  void set_log_position(const LogPosition& position);  // all or nothing, should the process be killed

 private:
  friend class History;
  Stream(History* history, uint32_t slot) : history_(history), slot_(slot) {}

  History* history_ = nullptr;
  uint32_t slot_ = 0;
};

// Belongs to one thread of one process.
class History {
 public:
  // `memory`: a memfd, empty or left by a predecessor. EINVAL: something else; EBUSY: another process has it.
  static Result<std::unique_ptr<History>> open(Fd memory, const HistoryLimits& limits = {});
  History(const History&) = delete;
  History& operator=(const History&) = delete;
  ~History();

  struct Attached {
    Stream stream;
    bool is_continued = false;  // a predecessor's
  };
  // The stream of a console: a predecessor's if `incarnation` is the same, else a new one. ENOSPC: there are too many.
  // `ring_index`: of a new one.
  Result<Attached> attach(ConsoleId console, uint64_t incarnation, uint32_t ring_index = 0);
  void forget(const Stream& stream);

  // Where the file is mapped.
  std::span<uint8_t> memory() const { return {base_, kFileBytes}; }
  uint64_t bytes_held() const { return blocks_in_use_ * kBlockBytes; }

 private:
  friend class Stream;

  static constexpr uint32_t kSlots = 65'536;
  static constexpr uint64_t kBlockBytes = 1024;
  static constexpr uint64_t kStatesOffset = 4096;
  static constexpr uint64_t kStateBytes = 128;
  static constexpr uint64_t kBlocksOffset = uint64_t{32} << 20;
  static constexpr uint64_t kFileBytes = kBlocksOffset + (uint64_t{32} << 30);
  static constexpr uint32_t kMostBlocks = (kFileBytes - kBlocksOffset) / kBlockBytes;
  static constexpr uint32_t kNone = ~0u;

  struct Header;
  struct State;
  struct Block;
  // What is known of a block besides: a successor makes it anew.
  struct BlockNote : boost::intrusive::list_base_hook<> {
    uint32_t next = kNone;    // of the same stream
    uint16_t used = 0;        // bytes of chunks
    uint16_t text = 0;        // bytes of text
    uint16_t last_chunk = 0;  // where it begins
  };
  using ByAge = boost::intrusive::list<BlockNote, boost::intrusive::constant_time_size<false>>;
  struct SlotNote {
    uint32_t first = kNone, last = kNone;
    uint32_t blocks = 0;
  };

  History(Fd file, uint8_t* base, const HistoryLimits& limits);
  Header& header() const;
  State& state(uint32_t slot) const;
  Block& block(uint32_t index) const;
  uint32_t index_of(const BlockNote& note) const { return static_cast<uint32_t>(&note - notes_.data()); }

  void recover();
  void adopt(uint32_t index);
  void append_block(uint32_t slot, uint32_t index);
  void add_block(uint32_t slot, uint64_t start);
  void renew(uint32_t index);
  void give_back(uint32_t index);
  void drop_oldest(uint32_t slot);
  void drop_all(uint32_t slot);
  uint32_t find_block(uint32_t slot, const Cursor& cursor) const;

  Fd file_;
  uint8_t* base_;
  HistoryLimits limits_;
  std::vector<SlotNote> slots_;   // of those that have been in use
  std::vector<BlockNote> notes_;  // as many as there may be blocks; never grows
  std::vector<uint32_t> free_slots_, free_blocks_;
  ByAge by_age_;
  uint64_t blocks_in_use_ = 0;
  std::unordered_map<uint32_t, uint32_t> slot_of_;  // by domid << 16 | index
};

}  // namespace xenopolis::console
