#include "console/ring.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace xenopolis::console {
namespace {

constexpr uint32_t kRingBytes = sizeof(xencons_interface::out);
static_assert(kRingBytes == 2048 && sizeof(xencons_interface::in) == 1024);
static_assert((kRingBytes & (kRingBytes - 1)) == 0, "indices run freely and are masked");

}  // namespace

OutputRing::OutputRing(xencons_interface& page)
    : page_(&page), consumed_(std::atomic_ref(page.out_cons).load(std::memory_order_relaxed)) {}

Taken OutputRing::take(std::span<char> buffer) {
  // Acquire: the bytes before the index are the guest's by now.
  const XENCONS_RING_IDX produced = std::atomic_ref(page_->out_prod).load(std::memory_order_acquire);
  const uint32_t available = produced - consumed_;
  if (available > kRingBytes) {
    free_up_to(produced);
    return {.invalid_index = true};
  }
  const auto size = static_cast<uint32_t>(std::min<size_t>(available, buffer.size()));
  const uint32_t start = MASK_XENCONS_IDX(consumed_, page_->out);
  const uint32_t until_wrap = std::min(size, kRingBytes - start);
  // A guest that goes on writing here changes its own text only; the copy is what counts.
  std::memcpy(buffer.data(), page_->out + start, until_wrap);
  std::memcpy(buffer.data() + until_wrap, page_->out, size - until_wrap);
  if (size != 0) free_up_to(consumed_ + size);
  return {.bytes = size};
}

void OutputRing::free_up_to(XENCONS_RING_IDX index) {
  consumed_ = index;
  // Release: our reads come before the guest may overwrite.
  std::atomic_ref(page_->out_cons).store(index, std::memory_order_release);
}

}  // namespace xenopolis::console
