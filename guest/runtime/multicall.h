// A batch of hypercalls that costs one entry into the hypervisor (__HYPERVISOR_multicall).
#pragma once

#include "runtime/hypercall.h"

namespace xenopolis::guest {

// Arguments that are pointers must stay valid until run().
class Multicall {
 public:
  static constexpr unsigned kCapacity = 16;

  // The index to ask result() for. A full batch runs first: indices start again at 0.
  template <class A, class B, class C = int>
  unsigned add(unsigned number, A a, B b, C c = 0) {
    return append(number, as_argument(a), as_argument(b), as_argument(c));
  }

  // Empties the batch; the results stay readable until the next add().
  void run();

  long result(unsigned index) const { return static_cast<long>(entries_[index].result); }

 private:
  unsigned append(unsigned number, uint64_t a, uint64_t b, uint64_t c);

  multicall_entry_t entries_[kCapacity];
  unsigned count_ = 0;
};

// The one batch of a guest's single thread: whoever adds to it runs it before anyone else adds. It is not on the
// stack, which is one page.
extern Multicall common_batch;

}  // namespace xenopolis::guest
