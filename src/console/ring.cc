#include "console/ring.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace xenopolis::console {

static_assert((kOutputBytes & (kOutputBytes - 1)) == 0 && (kInputBytes & (kInputBytes - 1)) == 0,
              "indices run freely and are masked");

ConsoleRing::ConsoleRing(xencons_interface& page, XENCONS_RING_IDX consumed)
    : page_(&page), written_(std::atomic_ref(page.in_prod).load(std::memory_order_relaxed)) {
  skip_to(consumed);
}

XENCONS_RING_IDX ConsoleRing::consumed_by_page(const xencons_interface& page) {
  return std::atomic_ref(const_cast<xencons_interface&>(page).out_cons).load(std::memory_order_relaxed);
}

ConsoleRing::Output ConsoleRing::output() const {
  // Acquire: the bytes before the index are the guest's by now.
  Output output;
  output.produced = std::atomic_ref(page_->out_prod).load(std::memory_order_acquire);
  const uint32_t available = output.produced - consumed_;
  output.is_valid = available <= kOutputBytes;
  if (!output.is_valid) return output;
  const uint32_t start = MASK_XENCONS_IDX(consumed_, page_->out);
  const uint32_t until_wrap = std::min(available, kOutputBytes - start);
  output.first = {page_->out + start, until_wrap};
  output.second = {page_->out, available - until_wrap};
  return output;
}

void ConsoleRing::skip_to(XENCONS_RING_IDX index) {
  consumed_ = index;
  // Release: our reads come before the guest may overwrite.
  std::atomic_ref(page_->out_cons).store(index, std::memory_order_release);
}

uint32_t ConsoleRing::room() const {
  // Acquire: the guest has read the bytes before the index.
  const uint32_t unread = written_ - std::atomic_ref(page_->in_cons).load(std::memory_order_acquire);
  return unread <= kInputBytes ? kInputBytes - unread : 0;
}

uint32_t ConsoleRing::write(std::string_view input) {
  const auto bytes = static_cast<uint32_t>(std::min<size_t>(input.size(), room()));
  if (bytes == 0) return 0;
  const uint32_t start = MASK_XENCONS_IDX(written_, page_->in);
  const uint32_t until_wrap = std::min(bytes, kInputBytes - start);
  std::memcpy(page_->in + start, input.data(), until_wrap);
  std::memcpy(page_->in, input.data() + until_wrap, bytes - until_wrap);
  written_ += bytes;
  // Release: the bytes come before the index.
  std::atomic_ref(page_->in_prod).store(written_, std::memory_order_release);
  return bytes;
}

}  // namespace xenopolis::console
