#include "vcpu/kvm/interval_timer.h"

namespace xenopolis::vcpu::kvm {
namespace {

// Port 0x61 of the PC: what a guest may set, and the output of channel 2.
constexpr uint8_t kGateBit = 1 << 0, kSpeakerBit = 1 << 1, kOutputBit = 1 << 5;

// Control words (8254 data sheet): channel in bits 7-6, access in bits 5-4, of which 0 is the latch command.
constexpr uint8_t kChannelMask = 0xc0, kChannel2 = 0x80, kAccessMask = 0x30;

constexpr uint64_t kNsPerSecond = 1'000'000'000;

}  // namespace

uint8_t IntervalTimer::read(uint32_t port, uint64_t now_ns) {
  switch (port) {
    case kCounterPort:
      return read_counter(now_ns);
    case kGatePort: {
      // Mode 0: low from the control word on, high for good once the count has reached 0.
      const bool output = loaded_ && ticks(now_ns) >= initial_count_;
      return static_cast<uint8_t>((gate_ ? kGateBit : 0) | (speaker_ ? kSpeakerBit : 0) | (output ? kOutputBit : 0));
    }
    default:
      return 0xff;
  }
}

void IntervalTimer::write(uint32_t port, uint8_t value, uint64_t now_ns) {
  switch (port) {
    case kCounterPort:
      write_counter(value, now_ns);
      break;
    case kCommandPort:
      if ((value & kChannelMask) != kChannel2) break;
      if ((value & kAccessMask) == 0) {
        if (!latched_) latch_ = count(now_ns);
        latched_ = true;
        break;
      }
      loaded_ = latched_ = false;
      next_read_ = next_write_ = NextByte::kLow;
      break;
    case kGatePort:
      speaker_ = (value & kSpeakerBit) != 0;
      set_gate((value & kGateBit) != 0, now_ns);
      break;
    default:
      break;
  }
}

uint64_t IntervalTimer::ticks(uint64_t now_ns) const {
  const uint64_t ns = counted_ns_ + (gate_ ? now_ns - opened_ns_ : 0);
  // In two parts, which do not overflow.
  return ns / kNsPerSecond * kFrequencyHz + ns % kNsPerSecond * kFrequencyHz / kNsPerSecond;
}

uint16_t IntervalTimer::count(uint64_t now_ns) const {
  return static_cast<uint16_t>(loaded_ ? initial_count_ - ticks(now_ns) : initial_count_);
}

// The low byte, then the high byte.
uint8_t IntervalTimer::read_counter(uint64_t now_ns) {
  const uint16_t value = latched_ ? latch_ : count(now_ns);
  if (next_read_ == NextByte::kLow) {
    next_read_ = NextByte::kHigh;
    return static_cast<uint8_t>(value);
  }
  next_read_ = NextByte::kLow;
  latched_ = false;
  return static_cast<uint8_t>(value >> 8);
}

// Counting begins with the second byte, and stops with the first one of the next count.
void IntervalTimer::write_counter(uint8_t value, uint64_t now_ns) {
  if (next_write_ == NextByte::kLow) {
    low_byte_ = value;
    loaded_ = false;
    next_write_ = NextByte::kHigh;
    return;
  }
  next_write_ = NextByte::kLow;
  const uint32_t count = low_byte_ | uint32_t{value} << 8;
  initial_count_ = count == 0 ? 0x10000 : count;
  counted_ns_ = 0;
  opened_ns_ = now_ns;
  loaded_ = true;
}

// A closed gate holds the count.
void IntervalTimer::set_gate(bool open, uint64_t now_ns) {
  if (open == gate_) return;
  if (open) {
    opened_ns_ = now_ns;
  } else {
    counted_ns_ += now_ns - opened_ns_;
  }
  gate_ = open;
}

}  // namespace xenopolis::vcpu::kvm
