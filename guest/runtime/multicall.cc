#include "runtime/multicall.h"

namespace xenopolis::guest {

Multicall common_batch;

unsigned Multicall::append(unsigned number, uint64_t a, uint64_t b, uint64_t c) {
  if (count_ == kCapacity) run();
  multicall_entry_t& entry = entries_[count_];
  entry.op = number;
  entry.result = -XEN_ENOSYS;
  entry.args[0] = a;
  entry.args[1] = b;
  entry.args[2] = c;
  return count_++;
}

void Multicall::run() {
  unsigned count = count_;
  count_ = 0;
  if (count == 1) {
    multicall_entry_t& only = entries_[0];
    only.result = hypercall_numbered(static_cast<unsigned>(only.op), only.args[0], only.args[1], only.args[2]);
  } else if (count != 0) {
    hypercall<__HYPERVISOR_multicall>(entries_, count);
  }
}

}  // namespace xenopolis::guest
