// How a signal ends guest execution without ever being lost.
#pragma once

#include "base/result.h"
#include "vcpu/kvm/kvm_api.h"

namespace xenopolis::vcpu::kvm {

// Installs the process' handler for Doorbells::kick_signal(). Idempotent.
Status install_kick_handler();

// Between construction and destruction, a kick of this thread makes KVM_RUN on `run` return EINTR. One per thread.
//
// The handler remembers the kick in a flag of the thread and sets run->immediate_exit:
//   1. before construction: the flag is set; take() sees it before KVM_RUN;
//   2. between take() and KVM_RUN: immediate_exit is set, KVM_RUN returns at once;
//   3. inside KVM_RUN: the signal itself ends it;
//   4. after KVM_RUN: as 1., for the next entry.
class KickScope {
 public:
  explicit KickScope(kvm_run* run);
  ~KickScope();
  KickScope(const KickScope&) = delete;
  KickScope& operator=(const KickScope&) = delete;

  // Whether there was a kick since the last time. Lets KVM_RUN run again.
  bool take();
  // Lets KVM_RUN run again, and leaves the kick for take().
  void defer();

 private:
  kvm_run* run_;
};

}  // namespace xenopolis::vcpu::kvm
