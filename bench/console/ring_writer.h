// A guest's side of its console's ring (<xen/io/console.h>).
#pragma once

#include <atomic>
#include <cstring>
#include <string_view>

#include "xen_abi/xen.h"

namespace xenopolis::bench {

class RingWriter {
 public:
  static constexpr uint32_t kBytes = sizeof(xencons_interface::out);

  explicit RingWriter(xencons_interface& page) : page_(page) {}

  uint32_t room() const { return kBytes - (page_.out_prod - std::atomic_ref(page_.out_cons).load()); }
  bool is_consumed() const { return room() == kBytes; }

  // `text` fits.
  void write(std::string_view text) {
    const uint32_t at = page_.out_prod % kBytes;
    const size_t before_wrap = std::min<size_t>(text.size(), kBytes - at);
    std::memcpy(page_.out + at, text.data(), before_wrap);
    std::memcpy(page_.out, text.data() + before_wrap, text.size() - before_wrap);
    std::atomic_ref(page_.out_prod).store(page_.out_prod + static_cast<uint32_t>(text.size()));
  }

 private:
  xencons_interface& page_;
};

}  // namespace xenopolis::bench
