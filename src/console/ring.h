// The backend's end of a console ring (<xen/io/console.h>): a page with 2 KiB from the guest and 1 KiB to it.
#pragma once

#include <cstdint>
#include <string_view>

#include "xen_abi/xen.h"

namespace xenopolis::console {

inline constexpr uint32_t kOutputBytes = sizeof(xencons_interface::out);
inline constexpr uint32_t kInputBytes = sizeof(xencons_interface::in);
static_assert(kOutputBytes == 2048 && kInputBytes == 1024);

// The page is the guest's, who may write anything into it at any time. Its two indices are read once per look; our two
// are never read back. So a guest spoils its own output and input at most.
class ConsoleRing {
 public:
  // `consumed`: index of the next byte to take. The page must stay mapped.
  ConsoleRing(xencons_interface& page, XENCONS_RING_IDX consumed);

  // What the guest's page says that its backend has consumed: where to begin with a ring that is new here.
  static XENCONS_RING_IDX consumed_by_page(const xencons_interface& page);

  // What the guest has written, in up to two parts; still there until it is freed, and the guest may change it
  // meanwhile, so it is looked at once. `is_valid` false: the guest's index claims more than a ring holds; what it
  // meant is unknown, and skip_to(`produced`) drops it all.
  struct Output {
    bool is_valid = true;
    XENCONS_RING_IDX produced = 0;
    std::string_view first, second;
  };
  Output output() const;
  void free(uint32_t bytes) { skip_to(consumed_ + bytes); }
  void skip_to(XENCONS_RING_IDX index);
  XENCONS_RING_IDX consumed() const { return consumed_; }

  // Writes as much of `input` as there is room for; says how much that was. None when the guest's index is impossible.
  uint32_t write(std::string_view input);
  uint32_t room() const;

 private:
  xencons_interface* page_;
  XENCONS_RING_IDX consumed_;
  XENCONS_RING_IDX written_;
};

}  // namespace xenopolis::console
