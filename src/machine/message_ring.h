// The hypervisor's log (dmesg): the newest lines of everybody who has the machine, kept in it. It survives whoever
// wrote it, and nobody waits for anybody: a process that dies while it writes loses its line.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "machine/layout.h"

namespace xenopolis::machine {

// Guests have a ring for themselves: they cannot push out what the host says.
enum class MessageSource : uint8_t { kHost, kGuest };

struct Message {
  MessageSource source = MessageSource::kHost;
  log::Level level = log::Level::kInfo;
  uint64_t time_ns = 0;  // of the calendar, since 1970
  int32_t pid = 0;
  std::optional<DomId> domid;  // whom it is about
  std::string origin;          // the program; of a guest's line the domain's name. At most kMaxOrigin bytes
  std::string text;            // one line; at most kMaxText bytes
};

struct MessageSlot {
  static constexpr size_t kWords = 63;
  // Of line number `ticket` of the ring: 2 * ticket + 1 while it is written, 2 * ticket + 2 once it is whole. Never
  // decreases, so who was overtaken by a whole turn of the ring gives up.
  std::atomic<uint64_t> state;
  // The line, then the rest as it was. The first word is a hash of the line: two writers can only get here when one
  // stood still for a whole turn, and then what they wrote together is no line.
  std::array<std::atomic<uint64_t>, kWords> words;
};

struct MessageRing {
  static constexpr uint64_t kSlots = 4096;
  alignas(64) std::atomic<uint64_t> next;  // ticket
  std::atomic<uint64_t> first;             // what is older was cleared
  alignas(64) std::array<MessageSlot, kSlots> slots;
};
static_assert(sizeof(MessageRing) <= kMessageRingStride);

inline constexpr size_t kMaxOrigin = 63;
inline constexpr size_t kMaxText = 400;

inline MessageRing& message_ring(MessageSource source) {
  return table_element<MessageRing, kMessageOffset, kMessageRingStride>(static_cast<uint64_t>(source));
}

// Longer text is cut, and what is not printable ASCII or UTF-8's becomes '?'. Never waits.
void append_message(const Message& message);

// Nobody who begins to read from now on gets what is there.
void clear_messages();

// Reads from the oldest line that is there.
class MessageReader {
 public:
  // Lines that are new since the last call, of all rings, by time. A line that is just being written is waited for in
  // up to kPatience calls, then its writer has died.
  std::vector<Message> read();
  // From now on only what is new.
  void skip_to_end();
  // Lines that were overwritten before they could be read.
  uint64_t lost() const { return lost_; }

  static constexpr unsigned kPatience = 3;

 private:
  struct Position {
    uint64_t ticket = 0;
    unsigned waited = 0;
  };
  void read_ring(MessageSource source, Position& position, std::vector<Message>& messages);

  std::array<Position, kMessageRingCount> positions_{};
  uint64_t lost_ = 0;
};

}  // namespace xenopolis::machine
