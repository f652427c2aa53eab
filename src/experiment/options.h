// What `polis experiment` is asked to do.
#pragma once

#include <cstdint>
#include <string>

namespace xenopolis::experiment {

inline constexpr uint64_t kCitizenMemoryMib = 4;
inline constexpr uint64_t kOtherGuestMemoryMib = 32;

struct Options {
  uint32_t domains = 3000;
  uint64_t memory_mib = 0;         // 0: kCitizenMemoryMib, or kOtherGuestMemoryMib
  std::string event_abi = "fifo";  // Dom0's: or "3l", "2l"
  std::string backend = "auto";    // or "kvm", "hosted"
  double seconds = 10;             // steady state
  std::string guest;               // image; empty: the citizen that comes with Xenopolis
  std::string expect;              // text on its console that shows that another guest is up; empty: by the image
  std::string output = "polis-experiment";  // directory for results.json
  bool keep_logs = false;                   // keep the console logs in output/console
  uint32_t window = 4;                      // domains that are being created at the same time
  uint32_t domains_per_cell = 64;
  uint32_t beat_ms = 1000;
  double up_timeout_s = 60;    // give up when no domain came up for so long
  uint32_t floor_vms = 1000;   // VMs in the measurement of the floor; 0: skip
  uint64_t reserve_mib = 256;  // host memory to keep free
  bool quiet = false;          // no progress
};

}  // namespace xenopolis::experiment
