// What the hypervisor knows about one port, in one 64-bit word, so that a sender reads all of it at once without a
// lock.
#pragma once

#include <atomic>
#include <cstdint>

#include "xen_abi/xen.h"

namespace xenopolis::event {

// Enough for the port numbers of every ABI.
inline constexpr unsigned kPortBits = 18;
static_assert(EVTCHN_3L_NR_CHANNELS <= 1u << kPortBits && EVTCHN_FIFO_NR_CHANNELS <= 1u << kPortBits);

enum class PortState : uint8_t {
  kFree,         // zero: a fresh page is a page of free ports
  kUnbound,      // remote_domid may bind
  kInterdomain,  // connected to (remote_domid, remote_port)
  kVirq,
  kIpi,
  // In between; only the repair of a domain whose lock holder died finds them outside of the operation itself.
  kBinding,  // bind_interdomain has not yet connected the remote end
  kClosing,  // close has not yet disconnected the remote end
};

// A value; see PortSlot for where it is kept.
class PortWord {
 public:
  constexpr PortWord() = default;
  explicit constexpr PortWord(uint64_t bits) : bits_(bits) {}
  constexpr uint64_t bits() const { return bits_; }

  constexpr PortState state() const { return static_cast<PortState>(get(kState)); }
  constexpr uint8_t priority() const { return static_cast<uint8_t>(get(kPriority)); }
  constexpr VcpuId vcpu() const { return static_cast<VcpuId>(get(kVcpu)); }  // notified
  // FIFO: the queue that the port was last linked to, which need not be that of vcpu() and priority() any more.
  // Survives the closing of the port, because the queue's tail may still name it.
  constexpr VcpuId last_vcpu() const { return static_cast<VcpuId>(get(kLastVcpu)); }
  constexpr uint8_t last_priority() const { return static_cast<uint8_t>(get(kLastPriority)); }
  // FIFO: became pending while its page of the event array was missing.
  constexpr bool saved_pending() const { return get(kSavedPending) != 0; }
  constexpr DomId remote_domid() const { return static_cast<DomId>(get(kRemoteDomid)); }
  constexpr Port remote_port() const { return static_cast<Port>(get(kRemotePort)); }
  constexpr uint32_t virq() const { return static_cast<uint32_t>(get(kRemotePort)); }  // kVirq
  constexpr Port next_free() const { return static_cast<Port>(get(kRemotePort)); }     // kFree

  constexpr PortWord with_state(PortState state) const { return set(kState, static_cast<uint64_t>(state)); }
  constexpr PortWord with_priority(uint32_t priority) const { return set(kPriority, priority); }
  constexpr PortWord with_vcpu(VcpuId vcpu) const { return set(kVcpu, vcpu); }
  constexpr PortWord with_last_queue(VcpuId vcpu, uint32_t priority) const {
    return set(kLastVcpu, vcpu).set(kLastPriority, priority);
  }
  constexpr PortWord with_saved_pending(bool saved) const { return set(kSavedPending, saved); }
  constexpr PortWord with_remote(DomId domid, Port port) const {
    return set(kRemoteDomid, domid).set(kRemotePort, port);
  }
  constexpr PortWord with_virq(uint32_t virq) const { return set(kRemotePort, virq); }

  // Free, and nothing remembered but the last queue.
  constexpr PortWord freed(Port next_free) const {
    return PortWord{}.with_last_queue(last_vcpu(), last_priority()).with_remote(0, next_free);
  }

  constexpr bool is_open() const {
    return state() != PortState::kFree && state() != PortState::kBinding && state() != PortState::kClosing;
  }
  constexpr bool is_connected_to(DomId domid, Port port) const {
    return state() == PortState::kInterdomain && remote_domid() == domid && remote_port() == port;
  }

 private:
  struct Field {
    unsigned shift, width;
    constexpr uint64_t mask() const { return ((1ull << width) - 1) << shift; }
  };
  static constexpr Field kState{0, 3}, kPriority{3, 4}, kVcpu{7, 5}, kLastVcpu{12, 5}, kLastPriority{17, 4},
      kSavedPending{21, 1}, kRemotePort{22, kPortBits}, kRemoteDomid{40, 16};

  constexpr uint64_t get(Field field) const { return (bits_ & field.mask()) >> field.shift; }
  constexpr PortWord set(Field field, uint64_t value) const {
    return PortWord((bits_ & ~field.mask()) | ((value << field.shift) & field.mask()));
  }

  uint64_t bits_ = 0;
};

// Where the word is kept. Read by anybody. Written by
// - the holder of the domain lock, while the port is free (a port leaves that state by such a write);
// - else the holder of the delivery lock of the vCPU that the word names. Naming another is the last write under the
//   old one's lock.
class PortSlot {
 public:
  PortWord load() const { return PortWord(bits_.load(std::memory_order_acquire)); }
  void store(PortWord word) { bits_.store(word.bits(), std::memory_order_release); }

 private:
  std::atomic<uint64_t> bits_;
};
static_assert(sizeof(PortSlot) == 8 && std::atomic<uint64_t>::is_always_lock_free);

}  // namespace xenopolis::event
