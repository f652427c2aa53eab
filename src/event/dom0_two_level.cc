#include <bit>

#include "event/dom0_side.h"

namespace xenopolis::event {
namespace {

constexpr unsigned kWords = 64;
using WordRef = std::atomic_ref<xen_ulong_t>;

class Dom0TwoLevel final : public Dom0Side {
 public:
  explicit Dom0TwoLevel(VcpuId vcpu) : domain_(channels_of(kDom0)), vcpu_(domain_.vcpus[vcpu]) {
    // What a predecessor had bound. Bound: 4,096 ports.
    const uint32_t used = domain_.used_ports.load();
    for (Port port = 1; port < used; ++port) {
      const PortWord word = find_slot(domain_, port)->load();
      if (word.is_open() && word.vcpu() == vcpu) mine_[port / kWords] |= bit_of(port);
    }
  }

  XenStatus add(Port port) override {
    mine_[port / kWords] |= bit_of(port);
    return {};
  }
  void remove(Port port) override {
    if (port >= kTwoLevelPorts) return;
    mask(port);
    mine_[port / kWords] &= ~bit_of(port);
  }
  void mask(Port port) override {
    if (port < kTwoLevelPorts) WordRef(domain_.shared->evtchn_mask[port / kWords]).fetch_or(bit_of(port));
  }
  bool unmask(Port) override { return true; }

  uint32_t drain(const Consumer::Handler& handler, uint32_t budget, bool& more) override {
    uint32_t served = 0;
    while (served < budget && (bits_ != 0 || next_word())) {
      const auto bit = static_cast<unsigned>(std::countr_zero(bits_));
      bits_ &= bits_ - 1;
      if ((WordRef(domain_.shared->evtchn_mask[word_]).load() >> bit & 1) != 0) continue;
      const xen_ulong_t mask = xen_ulong_t{1} << bit;
      if ((WordRef(domain_.shared->evtchn_pending[word_]).fetch_and(~mask) & mask) == 0) continue;
      ++served;
      handler(word_ * kWords + bit);
    }
    more = bits_ != 0 || selector_ != 0 || WordRef(info().evtchn_pending_sel).load() != 0;
    return served;
  }

 private:
  static xen_ulong_t bit_of(Port port) { return xen_ulong_t{1} << (port % kWords); }
  vcpu_info& info() { return *vcpu_.info.load(); }

  // Goes to the next selected word with something for this vCPU, round-robin, so that no busy word starves the others.
  // Its bits are taken once per visit.
  bool next_word() {
    selector_ |= WordRef(info().evtchn_pending_sel).exchange(0);
    while (selector_ != 0) {
      const auto skip = static_cast<unsigned>(std::countr_zero(std::rotr(selector_, static_cast<int>(word_ + 1))));
      word_ = (word_ + 1 + skip) % kWords;
      selector_ &= ~(xen_ulong_t{1} << word_);
      const shared_info& shared = *domain_.shared;
      // Other vCPUs' ports share the word: a selector bit says no more than that one of the 64 may be ours.
      bits_ = WordRef(const_cast<xen_ulong_t&>(shared.evtchn_pending[word_])).load() &
              ~WordRef(const_cast<xen_ulong_t&>(shared.evtchn_mask[word_])).load() & mine_[word_];
      if (bits_ != 0) return true;
    }
    return false;
  }

  DomainChannels& domain_;
  VcpuChannels& vcpu_;
  std::array<xen_ulong_t, kWords> mine_{};  // ports that notify this vCPU
  xen_ulong_t selector_ = 0;                // words still to be visited
  unsigned word_ = kWords - 1;
  xen_ulong_t bits_ = 0;  // left of that word
};

}  // namespace

std::unique_ptr<Dom0Side> make_dom0_two_level(VcpuId vcpu) {
  return std::make_unique<Dom0TwoLevel>(vcpu);
}

}  // namespace xenopolis::event
