// Dom0's side of 2-level and 3-level: walks the selectors, then the words that they select.
#pragma once

#include <bit>
#include <optional>

#include "event/bitmap_abi.h"
#include "event/dom0_side.h"

namespace xenopolis::event {

// The set bits of a word, each once, beginning behind the one that was visited last: no busy bit starves the others.
class RoundRobin {
 public:
  bool empty() const { return left_ == 0; }
  void add(xen_ulong_t bits) { left_ |= bits; }
  // Not empty.
  unsigned next() {
    const auto skip = static_cast<unsigned>(std::countr_zero(std::rotr(left_, static_cast<int>(last_ + 1))));
    last_ = (last_ + 1 + skip) % kBitsPerWord;
    left_ &= ~bit_of(last_);
    return last_;
  }

 private:
  xen_ulong_t left_ = 0;
  unsigned last_ = kBitsPerWord - 1;
};

class Dom0Bitmap : public Dom0Side {
 public:
  XenStatus add(Port) override { return {}; }
  void mask(Port port) override;
  bool is_masked(Port port) const override;
  bool unmask(Port) override { return true; }
  uint32_t drain(const Consumer::Handler& handler, uint32_t budget, bool& more) override;

 protected:
  Dom0Bitmap(const BitmapAbi& abi, VcpuId vcpu) : abi_(abi), domain_(channels_of(kDom0)), vcpu_(vcpu) {}

  // The next word of the bitmap that is selected, in turns; taken off the selectors.
  virtual std::optional<uint32_t> next_word() = 0;
  virtual bool has_selected_words() const = 0;

  BitmapWord first_level() const { return BitmapWord(vcpu().info.load()->evtchn_pending_sel); }
  VcpuChannels& vcpu() const { return domain_.vcpus[vcpu_]; }

 private:
  bool take_word();

  const BitmapAbi& abi_;
  DomainChannels& domain_;
  VcpuId vcpu_;
  uint32_t word_ = 0;
  xen_ulong_t bits_ = 0;  // left of that word
};

}  // namespace xenopolis::event
