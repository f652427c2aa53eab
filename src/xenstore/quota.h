// What one unprivileged domain may hold. Dom0 is exempt. The numbers are the defaults of Xen's C xenstored.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xenopolis::xenstore {

struct Quota {
  uint32_t nodes = 1000;
  uint32_t watches = 128;
  size_t watch_bytes = 64 * 1024;  // of all paths and tokens; ours, where xenstored has a limit of memory
  uint32_t transactions = 10;
  uint32_t entry_bytes = 2048;  // of a node's record: see entry_bytes()
  uint32_t perms_per_node = 5;
  uint32_t nodes_per_transaction = 1024;      // nodes read plus changes made
  size_t bytes_per_transaction = 256 * 1024;  // of paths and values; ours
};

// The size that xenstored's records have: a header (generation and three lengths, padded), 8 bytes for each right, the
// value and the children's names.
inline constexpr size_t kEntryHeaderBytes = 24;
inline constexpr size_t kEntryPermBytes = 8;
inline size_t entry_bytes(size_t perms, size_t value_bytes, size_t name_bytes) {
  return kEntryHeaderBytes + perms * kEntryPermBytes + value_bytes + name_bytes;
}

}  // namespace xenopolis::xenstore
