// A domain's event channel state in the machine: its ports, its vCPUs' queues, and what guards them.
//
// Locks and their order: docs/invariants.md, "Event channels".
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "event/event_channels.h"
#include "event/port_word.h"
#include "machine/layout.h"
#include "machine/robust_lock.h"

namespace xenopolis::event {

inline constexpr VcpuId kMaxVcpus = 8;
static_assert(kMaxVcpus >= machine::kDom0VcpuCount && kMaxVcpus <= XEN_LEGACY_MAX_VCPUS);

inline constexpr uint32_t kTwoLevelPorts = EVTCHN_2L_NR_CHANNELS;
inline constexpr uint32_t kThreeLevelPorts = EVTCHN_3L_NR_CHANNELS;
inline constexpr uint32_t kFifoPorts = EVTCHN_FIFO_NR_CHANNELS;
inline constexpr uint32_t kMaxPorts = 1u << kPortBits;  // no ABI has more
inline constexpr uint32_t kPriorities = EVTCHN_FIFO_MAX_QUEUES;
inline constexpr uint32_t kEventWordsPerPage = kPageSize / sizeof(event_word_t);
inline constexpr uint32_t kMaxArrayPages = kFifoPorts / kEventWordsPerPage;
static_assert(kTwoLevelPorts == 4096 && kThreeLevelPorts == 262144 && kFifoPorts == 131072 && kMaxArrayPages == 128);

inline constexpr uint32_t kInlinePorts = 64;
inline constexpr uint32_t kPortsPerBucket = kPageSize / sizeof(PortSlot);
inline constexpr uint32_t kBuckets = kMaxPorts / kPortsPerBucket;

// What a delivery in progress has begun, for whoever finds its holder dead. One word, so that it changes at once.
struct JournalEntry {
  Port port = 0;  // 0: nothing in progress
  // False: PENDING may be set; nothing else has changed that a second try would not do. True: LINKED may be set, and
  // the port be half in the queue of `priority`.
  bool linking = false;
  uint8_t priority = 0;

  static JournalEntry decode(uint32_t bits) {
    return {bits & (kMaxPorts - 1), (bits >> 31) != 0, static_cast<uint8_t>((bits >> 20) & 15)};
  }
  uint32_t encode() const { return port | (static_cast<uint32_t>(linking) << 31) | (uint32_t{priority} << 20); }
};

// Everything about delivery to one vCPU. Guarded by `lock`, the vCPU's delivery lock, but for what is said otherwise.
// The fields that matter after the holder's death are atomics: their stores reach memory in program order.
// What every delivery writes has cache lines of its own: consumers of bitmaps read `info` and `selector` all the time.
struct alignas(64) VcpuChannels {
  std::atomic<uint8_t> alive;                       // the domain's memory may be touched
  std::atomic<Port> polled_port;                    // read by senders after they saw poll_mask; kAnyPort: more than one
  std::atomic<evtchn_fifo_control_block*> control;  // FIFO
  std::atomic<xen_ulong_t*> selector;               // 3-level: EVTCHN_3L_SELECTOR_WORDS words, the second level
  std::atomic<vcpu_info*> info;                     // read without the lock by info_of()
  std::atomic<uint64_t> bell;  // Bell; read without the lock: a stale bell costs a wake-up for nothing
  std::array<std::atomic<Port>, NR_VIRQS> virq_ports;  // written under the domain lock, read without; 0: not bound

  alignas(64) machine::RobustLock lock;  // initialised once in the machine's life, with the first domain of this domid
  std::atomic<uint32_t> journal;         // JournalEntry
  std::array<std::atomic<Port>, kPriorities> tails;  // FIFO; a tail that is not LINKED any more means an empty queue
  std::atomic<uint64_t> events_delivered;            // a statistic
};

inline constexpr Port kAnyPort = ~0u;

// Which doorbell a vCPU's events ring. 0: none.
struct Bell {
  machine::DoorbellId id = 0;
  unsigned bit = 0;

  static uint64_t encode(machine::DoorbellId id, unsigned bit) { return ((uint64_t{id} << 8) | bit) + 1; }
  static std::optional<Bell> decode(uint64_t bits) {
    if (bits == 0) return std::nullopt;
    return Bell{static_cast<machine::DoorbellId>((bits - 1) >> 8), static_cast<unsigned>((bits - 1) & 0xff)};
  }
};

struct PortBucket {
  std::array<PortSlot, kPortsPerBucket> slots;
};
struct PortRoot {
  std::array<std::atomic<PortBucket*>, kBuckets> buckets;
};
static_assert(sizeof(PortBucket) == kPageSize && sizeof(PortRoot) <= kPageSize);

enum class Life : uint8_t { kAbsent, kAlive, kDying };

// Guarded by `lock`, the domain lock, but for what is said otherwise.
struct DomainChannels {
  std::atomic<uint32_t> locks_ready;  // 1 from the first creation on
  machine::RobustLock lock;

  std::atomic<Life> life;  // a hint without the lock
  std::atomic<Abi>
      abi;  // changed under the lock, followed by a pass through all delivery locks; read under any of them
  std::atomic<Abi> switching_to;  // a change to this ABI is under way; kTwoLevel: none
  Abi offered_abi;
  uint8_t vcpu_count;   // this and the next two: constant while the domain exists
  uint32_t port_limit;  // 0: that of the ABI
  shared_info* shared;

  std::atomic<uint32_t> used_ports;  // ports 1 .. used_ports - 1 have a slot that has been in use
  Port free_head, free_tail;         // a queue through PortWord::next_free(); 0: empty
  std::atomic<uint32_t> open_ports;
  std::atomic<Port> reset_next;  // where a reset that is under way goes on; 0: none
  std::atomic<PortRoot*> root;   // of ports from kInlinePorts on

  // The guest's frames. FIFO: those of the event array, whose number grows under the lock. 3-level: those of the
  // pending bitmap, then those of the mask bitmap. Read under any lock.
  std::atomic<uint32_t> array_pages;
  std::array<std::atomic<uint32_t>, kMaxArrayPages> array;

  std::atomic<uint32_t> poll_mask;    // bit v: vCPU v polls. Set before it looks for pending ports; see begin_poll()
  std::atomic<uint64_t> events_sent;  // a statistic; see also Dom0's shortcut in EventChannels::send()

  std::array<PortSlot, kInlinePorts> inline_slots;
  std::array<VcpuChannels, kMaxVcpus> vcpus;
};
static_assert(sizeof(DomainChannels) <= machine::kEventStride);
static_assert(machine::kMaxMachineSize >> kPageShift <= 1ull << 32, "frames fit the event array's entries");

// `domid` < kDomIdCount.
inline DomainChannels& channels_of(DomId domid) {
  return machine::table_element<DomainChannels, machine::kEventOffset, machine::kEventStride>(domid);
}

// The slot of `port`, or nullptr when there is none (port 0 never has one). The caller holds the domain lock or one of
// the domain's delivery locks with `alive`, or is the domain itself, or the domain is Dom0: buckets are freed when a
// domain is destroyed, which excludes the former, waits for the second, and never happens to the last.
inline PortSlot* find_slot(const DomainChannels& domain, Port port) {
  if (port == 0 || port >= domain.used_ports.load(std::memory_order_acquire)) return nullptr;
  if (port < kInlinePorts) return const_cast<PortSlot*>(&domain.inline_slots[port]);
  PortRoot* root = domain.root.load(std::memory_order_acquire);
  PortBucket* bucket = root->buckets[port / kPortsPerBucket].load(std::memory_order_acquire);
  return &bucket->slots[port % kPortsPerBucket];
}

// How many port numbers the domain has now, 0 included.
uint32_t port_limit_of(const DomainChannels& domain);

// --- with the domain lock held

// A free port that no queue holds any more; its word is still free. kNoSpc, kNoMem. O(1).
XenResult<Port> allocate_port(DomainChannels& domain, machine::Frames& frames);
// The inverse, after the port's word has become free.
void release_port(DomainChannels& domain, Port port);
// Makes queue and count anew from the words. O(ports used).
void rebuild_free_ports(DomainChannels& domain);
// Gives all buckets back. Every port must be closed.
void release_buckets(DomainChannels& domain, machine::Frames& frames);

}  // namespace xenopolis::event
