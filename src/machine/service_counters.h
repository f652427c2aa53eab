// What Dom0's daemons count in Statistics::service of their vCPU.
#pragma once

#include "base/clock.h"
#include "machine/statistics.h"
#include "xen_abi/xenstore.h"

namespace xenopolis::machine {

// polis-xenstored. First come its requests by type: 0 to kXsTypeCount - 1.
enum class XenstoreCounter : uint32_t {
  kUnknownRequests = kXsTypeCount,  // of other types
  kErrors,                          // requests that were answered by an error
  kEvents,                          // watch events
  kCommits,
  kConflicts,  // commits that were refused by EAGAIN
  // --- as it is now
  kWatches,
  kDomains,
  kEnd
};

// polis-consoled.
enum class ConsoleCounter : uint32_t {
  kOutputBytes,  // that guests wrote
  kInputBytes,   // that guests were given
  kTurns,        // looks at a ring that had something
  kLostBytes,    // that could not be logged
  // --- as it is now
  kConsoles,
  kEnd
};
static_assert(static_cast<size_t>(XenstoreCounter::kEnd) <= Statistics::kServiceCounters);
static_assert(static_cast<size_t>(ConsoleCounter::kEnd) <= Statistics::kServiceCounters);

// Adds to this thread's counter; `note` says what there is now.
template <class Which>
void count_service(Which which, uint64_t by = 1) {
  if (Statistics* mine = my_statistics; mine != nullptr) count(mine->service[static_cast<size_t>(which)], by);
}
template <class Which>
void note_service(Which which, uint64_t value) {
  if (Statistics* mine = my_statistics; mine != nullptr) {
    mine->service[static_cast<size_t>(which)].store(value, std::memory_order_relaxed);
  }
}

// Adds what its scope took to this thread's histogram of requests; of one scope in Statistics::kRequestSample.
class RequestTimer {
 public:
  RequestTimer() {
    static constinit thread_local uint32_t number = 0;
    if (my_statistics != nullptr && number++ % Statistics::kRequestSample == 0) begin_ns_ = MonotonicClock().now_ns();
  }
  ~RequestTimer() {
    if (begin_ns_ != 0) my_statistics->request.add(MonotonicClock().now_ns() - begin_ns_);
  }
  RequestTimer(const RequestTimer&) = delete;
  RequestTimer& operator=(const RequestTimer&) = delete;

 private:
  uint64_t begin_ns_ = 0;
};

}  // namespace xenopolis::machine
