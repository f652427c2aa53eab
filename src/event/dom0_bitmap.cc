#include "event/dom0_bitmap.h"

#include "event/three_level.h"
#include "event/two_level.h"

namespace xenopolis::event {
namespace {

class Dom0TwoLevel final : public Dom0Bitmap {
 public:
  explicit Dom0TwoLevel(VcpuId vcpu) : Dom0Bitmap(kTwoLevelAbi, vcpu) {}

 private:
  std::optional<uint32_t> next_word() override {
    words_.add(first_level().exchange(0));
    return words_.empty() ? std::nullopt : std::optional<uint32_t>(words_.next());
  }
  bool has_selected_words() const override { return !words_.empty() || first_level().load() != 0; }

  RoundRobin words_;
};

class Dom0ThreeLevel final : public Dom0Bitmap {
 public:
  explicit Dom0ThreeLevel(VcpuId vcpu) : Dom0Bitmap(kThreeLevelAbi, vcpu) {}

 private:
  std::optional<uint32_t> next_word() override {
    while (words_.empty()) {
      groups_.add(first_level().exchange(0));
      if (groups_.empty()) return std::nullopt;
      group_ = groups_.next();
      words_.add(BitmapWord(vcpu().selector.load()[group_]).exchange(0));
    }
    return group_ * kBitsPerWord + words_.next();
  }
  bool has_selected_words() const override { return !words_.empty() || !groups_.empty() || first_level().load() != 0; }

  RoundRobin groups_, words_;  // of the first level; of the second level's word `group_`
  uint32_t group_ = 0;
};

}  // namespace

void Dom0Bitmap::mask(Port port) {
  if (port < abi_.port_limit()) abi_.mask_word(domain_, port).fetch_or(bit_of(port));
}

bool Dom0Bitmap::is_masked(Port port) const {
  return port >= abi_.port_limit() || abi_.is_masked(domain_, port);
}

uint32_t Dom0Bitmap::drain(const Consumer::Handler& handler, uint32_t budget, bool& more) {
  uint32_t served = 0;
  while (served < budget && (bits_ != 0 || take_word())) {
    const Port port = word_ * kBitsPerWord + static_cast<unsigned>(std::countr_zero(bits_));
    bits_ &= bits_ - 1;
    // Other vCPUs' ports share the word: a selected word says no more than that one of the 64 may be ours.
    const PortSlot* slot = find_slot(domain_, port);
    if (slot == nullptr || slot->load().vcpu() != vcpu_ || abi_.is_masked(domain_, port)) continue;
    if ((abi_.pending_word(domain_, port).fetch_and(~bit_of(port)) & bit_of(port)) == 0) continue;
    ++served;
    handler(port);
  }
  more = bits_ != 0 || has_selected_words();
  return served;
}

// Goes to the next selected word with something in it, whose bits are taken once per visit.
bool Dom0Bitmap::take_word() {
  while (const std::optional<uint32_t> word = next_word()) {
    word_ = *word;
    const Port first = word_ * kBitsPerWord;
    bits_ = abi_.pending_word(domain_, first).load() & ~abi_.mask_word(domain_, first).load();
    if (bits_ != 0) return true;
  }
  return false;
}

std::unique_ptr<Dom0Side> make_dom0_two_level(VcpuId vcpu) {
  return std::make_unique<Dom0TwoLevel>(vcpu);
}

std::unique_ptr<Dom0Side> make_dom0_three_level(VcpuId vcpu) {
  return std::make_unique<Dom0ThreeLevel>(vcpu);
}

}  // namespace xenopolis::event
