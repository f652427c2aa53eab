// How much a request costs, counted: what is looked at, copied, made or removed on its behalf. Clients are charged by
// it, so that one dear request is as good as many cheap ones.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xenopolis::xenstore {

// One unit: a node, a name of a path, a watch, or 64 bytes; some 20 to 100 ns.
inline constexpr size_t kBytesPerUnit = 64;

// What this thread has done so far, in units. Only differences say something.
inline constinit thread_local uint64_t work_done = 0;

inline void count_work(uint64_t units) {
  work_done += units;
}
inline void count_bytes(size_t bytes) {
  work_done += bytes / kBytesPerUnit;
}

// What one turn may cost. A request that has begun is finished; what it costs more is paid by turns that are not taken.
inline constexpr uint64_t kWorkPerTurn = 1024;

// Of one client.
class WorkAccount {
 public:
  // A turn begins. False: what earlier turns cost is not paid off yet, so this one is not taken.
  bool begin_turn() {
    owed_ -= owed_ < kWorkPerTurn ? owed_ : kWorkPerTurn;
    began_at_ = work_done;
    return owed_ < kWorkPerTurn;
  }
  bool is_spent() const { return owed_ + (work_done - began_at_) >= kWorkPerTurn; }
  void end_turn() { owed_ += work_done - began_at_; }

 private:
  uint64_t owed_ = 0;
  uint64_t began_at_ = 0;
};

}  // namespace xenopolis::xenstore
