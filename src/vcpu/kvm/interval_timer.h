// Channel 2 of the PC's interval timer (Intel 8254), with its gate and output in port 0x61: the part of it that Xen
// gives PV guests (xen/arch/x86/emul-i8254.c, pv_pit_handler). Kernels measure the TSC with it.
#pragma once

#include <cstdint>

namespace xenopolis::vcpu::kvm {

// It counts in mode 0, from a value given as two bytes, and can be latched; other modes and the read-back command are
// ignored. A count is computed when it is asked for, so there is no timer and no interrupt.
class IntervalTimer {
 public:
  static constexpr uint16_t kCounterPort = 0x42, kCommandPort = 0x43, kGatePort = 0x61;
  static constexpr uint64_t kFrequencyHz = 1'193'182;

  // Ports that are not its own read as all ones, and writing to them does nothing. `now_ns` never decreases.
  uint8_t read(uint32_t port, uint64_t now_ns);
  void write(uint32_t port, uint8_t value, uint64_t now_ns);

 private:
  enum class NextByte : uint8_t { kLow, kHigh };

  uint64_t ticks(uint64_t now_ns) const;
  uint16_t count(uint64_t now_ns) const;
  uint8_t read_counter(uint64_t now_ns);
  void write_counter(uint8_t value, uint64_t now_ns);
  void set_gate(bool open, uint64_t now_ns);

  uint32_t initial_count_ = 0x10000;
  uint64_t counted_ns_ = 0;  // while the gate was open, up to the last change of it
  uint64_t opened_ns_ = 0;   // when the gate was opened, or counting began
  uint16_t latch_ = 0;
  bool gate_ = false;
  bool speaker_ = false;
  bool loaded_ = false;  // both bytes of the initial count are there
  bool latched_ = false;
  NextByte next_read_ = NextByte::kLow;
  NextByte next_write_ = NextByte::kLow;
  uint8_t low_byte_ = 0;
};

}  // namespace xenopolis::vcpu::kvm
