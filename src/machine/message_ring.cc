#include "machine/message_ring.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/printable.h"

namespace xenopolis::machine {
namespace {

constexpr uint32_t kNobody = ~0u;

// How a line lies in a slot.
struct Line {
  uint64_t hash;
  uint64_t time_ns;
  uint32_t domid;
  int32_t pid;
  uint8_t level;
  uint8_t origin_length;
  uint16_t text_length;
  uint32_t unused;
  char bytes[kMaxOrigin + kMaxText];  // the origin, then the text
};
using Words = std::array<uint64_t, MessageSlot::kWords>;
static_assert(sizeof(Line) <= sizeof(Words) && std::is_trivially_copyable_v<Line>);

// FNV-1a by words: tells torn lines apart, no more.
uint64_t hash_of(const Words& words) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 1; i < words.size(); ++i) hash = (hash ^ words[i]) * 0x100000001b3;
  return hash;
}

Words encode(const Message& message) {
  Line line{};
  line.time_ns = message.time_ns;
  line.domid = message.domid ? *message.domid : kNobody;
  line.pid = message.pid;
  line.level = static_cast<uint8_t>(message.level);
  const std::string origin = printable(std::string_view(message.origin).substr(0, kMaxOrigin));
  const std::string text = printable(std::string_view(message.text).substr(0, kMaxText));
  line.origin_length = static_cast<uint8_t>(origin.size());
  line.text_length = static_cast<uint16_t>(text.size());
  origin.copy(line.bytes, origin.size());
  text.copy(line.bytes + origin.size(), text.size());
  Words words{};
  std::memcpy(words.data(), &line, sizeof line);
  words[0] = hash_of(words);
  return words;
}

std::optional<Message> decode(MessageSource source, const Words& words) {
  Line line;
  std::memcpy(&line, words.data(), sizeof line);
  if (line.hash != hash_of(words) || line.origin_length > kMaxOrigin || line.text_length > kMaxText) return {};
  Message message;
  message.source = source;
  message.level = static_cast<log::Level>(std::min<uint8_t>(line.level, static_cast<uint8_t>(log::Level::kError)));
  message.time_ns = line.time_ns;
  message.pid = line.pid;
  if (line.domid != kNobody) message.domid = static_cast<DomId>(line.domid);
  // Again, because cells can write here what they like.
  message.origin = printable({line.bytes, line.origin_length});
  message.text = printable({line.bytes + line.origin_length, line.text_length});
  return message;
}

}  // namespace

void append_message(const Message& message) {
  const Words words = encode(message);
  MessageRing& ring = message_ring(message.source);
  const uint64_t ticket = ring.next.fetch_add(1, std::memory_order_relaxed);
  MessageSlot& slot = ring.slots[ticket % MessageRing::kSlots];
  const uint64_t writing = 2 * ticket + 1;
  uint64_t state = slot.state.load(std::memory_order_relaxed);
  do {
    if (state >= writing) return;
  } while (!slot.state.compare_exchange_weak(state, writing, std::memory_order_acquire, std::memory_order_relaxed));
  // A reader that sees one of the words sees the state, too.
  std::atomic_thread_fence(std::memory_order_release);
  for (size_t i = 0; i < words.size(); ++i) slot.words[i].store(words[i], std::memory_order_relaxed);
  state = writing;
  slot.state.compare_exchange_strong(state, writing + 1, std::memory_order_release, std::memory_order_relaxed);
}

void clear_messages() {
  for (const MessageSource source : {MessageSource::kHost, MessageSource::kGuest}) {
    MessageRing& ring = message_ring(source);
    ring.first.store(ring.next.load());
  }
}

std::vector<Message> MessageReader::read() {
  std::vector<Message> messages;
  for (const MessageSource source : {MessageSource::kHost, MessageSource::kGuest}) {
    read_ring(source, positions_[static_cast<size_t>(source)], messages);
  }
  std::stable_sort(messages.begin(), messages.end(),
                   [](const Message& left, const Message& right) { return left.time_ns < right.time_ns; });
  return messages;
}

void MessageReader::skip_to_end() {
  for (const MessageSource source : {MessageSource::kHost, MessageSource::kGuest}) {
    positions_[static_cast<size_t>(source)] = {message_ring(source).next.load(), 0};
  }
}

// Bound: the lines that the ring holds.
void MessageReader::read_ring(MessageSource source, Position& position, std::vector<Message>& messages) {
  MessageRing& ring = message_ring(source);
  const uint64_t end = ring.next.load(std::memory_order_acquire);
  const uint64_t first = std::min(ring.first.load(std::memory_order_relaxed), end);
  if (position.ticket < first) position = {first, 0};
  if (end - position.ticket > MessageRing::kSlots) {
    lost_ += end - MessageRing::kSlots - position.ticket;
    position = {end - MessageRing::kSlots, 0};
  }
  for (; position.ticket != end; position = {position.ticket + 1, 0}) {
    MessageSlot& slot = ring.slots[position.ticket % MessageRing::kSlots];
    const uint64_t whole = 2 * position.ticket + 2;
    const uint64_t state = slot.state.load(std::memory_order_acquire);
    if (state < whole) {
      if (++position.waited < kPatience) return;
      ++lost_;
      continue;
    }
    Words words;
    for (size_t i = 0; i < words.size(); ++i) words[i] = slot.words[i].load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    std::optional<Message> message;
    if (state == whole && slot.state.load(std::memory_order_relaxed) == whole) message = decode(source, words);
    if (message) {
      messages.push_back(*std::move(message));
    } else {
      ++lost_;
    }
  }
}

}  // namespace xenopolis::machine
