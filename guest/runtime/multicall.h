// A batch of hypercalls that costs one entry into the hypervisor (__HYPERVISOR_multicall).
#pragma once

#include "runtime/hypercall.h"

namespace xenopolis::guest {

// Arguments that are pointers must stay valid until run().
class Multicall {
 public:
  static constexpr unsigned kCapacity = 16;

  // The index to ask result() for. A full batch runs first: indices start again at 0.
  template <class... Arguments>
  unsigned add(unsigned number, Arguments... arguments) {
    static_assert(sizeof...(arguments) <= 6);
    if (count_ == kCapacity) run();
    multicall_entry_t& entry = entries_[count_];
    entry.op = number;
    entry.result = -XEN_ENOSYS;
    unsigned i = 0;
    ((entry.args[i++] = as_argument(arguments)), ...);
    return count_++;
  }

  bool empty() const { return count_ == 0; }

  // Empties the batch; the results stay readable until the next add().
  void run() {
    unsigned count = count_;
    count_ = 0;
    if (count == 1) {
      multicall_entry_t& only = entries_[0];
      only.result = hypercall_numbered(static_cast<unsigned>(only.op), only.args[0], only.args[1], only.args[2],
                                       only.args[3], only.args[4], only.args[5]);
    } else if (count != 0) {
      hypercall<__HYPERVISOR_multicall>(entries_, count);
    }
  }

  long result(unsigned index) const { return static_cast<long>(entries_[index].result); }

 private:
  multicall_entry_t entries_[kCapacity];
  unsigned count_ = 0;
};

// The one batch of a guest's single thread: whoever adds to it runs it before anyone else adds. It is not on the
// stack, which is one page.
extern Multicall common_batch;

}  // namespace xenopolis::guest
