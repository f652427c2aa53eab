// The page that a citizen shares with Dom0: the contract between guest/citizen and whoever counts its beats. Plain C++
// without dependencies; the guest includes it, and so does src/experiment.
//
// One writer, the guest; each field is a naturally aligned word that is read by itself, through a relaxed atomic load.
// A frontend announces the page twice, once as its network device and once as its block device, with one grant
// reference each (device/vif/0/ring-ref, device/vbd/0/ring-ref), and an event channel each (event-channel). An event on
// either is a ping: the guest counts it and notifies the same channel.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xenopolis {

inline constexpr uint32_t kCitizenMagic = 0x7A697463;  // "ctiz"
inline constexpr uint32_t kCitizenVersion = 1;

enum CitizenDevice : uint32_t { kCitizenVif = 0, kCitizenVbd = 1, kCitizenDeviceCount = 2 };

struct CitizenPage {
  uint32_t magic;    // kCitizenMagic, written last of the constant fields
  uint32_t version;  // kCitizenVersion
  uint32_t domid;
  uint32_t event_abi;  // 0 = 2-level, 1 = FIFO

  // The timer beats at start_ns + n * period_ns for n = 1, 2, ...; every n is counted once, as a beat if the guest woke
  // before the next one was due, else as missed. Times are Xen system time.
  uint64_t period_ns;
  uint64_t start_ns;
  uint64_t beats;
  uint64_t missed;
  uint64_t last_late_ns;   // how long after it was due the last beat was counted
  uint64_t worst_late_ns;  // the largest of them

  uint64_t pings_answered[kCitizenDeviceCount];
  uint64_t wakeups;  // returns from sleep since the domain runs

  // When the guest got this far, in Xen system time.
  uint64_t entered_ns;   // its first instruction
  uint64_t console_ns;   // its console line is in the ring
  uint64_t xenstore_ns;  // its first reply from xenstore is there
  uint64_t running_ns;   // data/state = running was acknowledged
};
static_assert(sizeof(CitizenPage) == 120 && offsetof(CitizenPage, beats) == 32);

}  // namespace xenopolis
