// What one domain does, for who asks (polis trace): its cell writes a record for each hypercall and exit, while
// somebody reads them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "machine/layout.h"
#include "machine/robust_lock.h"

namespace xenopolis::machine {

enum class TraceKind : uint8_t {
  kHypercall,  // number, arguments, result, duration; payload: what the second argument points to
  kMulticall,  // the same, an entry of a multicall
  kTrap,       // an exception for the guest: number: vector; arguments: error code, address, instruction pointer
  kSyscall,    // of a guest process; arguments: RAX, instruction pointer
  kInterrupt,  // the vCPU was made to stop: somebody's event, or the end of its slice
  kUpcall,     // the guest is told of events
  kWait,       // it waited: duration
  kEnd,        // number: SHUTDOWN_*, or TraceRecord::kDestroyed
};

struct TraceRecord {
  static constexpr size_t kMaxPayload = 112;
  static constexpr uint32_t kDestroyed = ~0u;
  uint64_t time_ns;  // CLOCK_MONOTONIC; of its beginning
  uint64_t duration_ns;
  int64_t result;
  std::array<uint64_t, 6> arguments;
  uint32_t number;
  TraceKind kind;
  uint8_t has_result;    // some calls do not return
  uint8_t payload_size;  // as much as could be read
  uint8_t unused;
  std::array<uint8_t, kMaxPayload> payload;
};
static_assert(sizeof(TraceRecord) == 192);

// One reader, one writer. The lock keeps a cell that writes its last record apart from the ring's next reader.
struct Trace {
  static constexpr uint64_t kRecords = 8192;

  RobustLock lock;
  // --- guarded by the lock
  uint32_t is_taken;
  DomId domid;
  // --- set with the lock; the reader looks at itself, and says that it is there, without: the writer must not find the
  // lock taken, or it drops a record
  std::atomic<int32_t> reader;           // pid
  std::atomic<uint64_t> reader_seen_ns;  // when it was there last
  // --- the writer, with the lock, counts `written`; the reader `read`
  alignas(64) std::atomic<uint64_t> written;
  std::atomic<uint64_t> dropped;  // there was no room
  alignas(64) std::atomic<uint64_t> read;
  std::array<TraceRecord, kRecords> records;
};
static_assert(sizeof(Trace) <= kTraceStride);

inline Trace& trace_at(uint32_t index) {
  return table_element<Trace, kTraceOffset, kTraceStride>(index);
}

// Who is traced: 0: nobody reads; else the number of its Trace, from 1.
inline std::atomic<uint32_t>& traced_word(DomId domid) {
  return table_element<std::atomic<uint32_t>, kTracedOffset, sizeof(uint32_t)>(domid);
}
inline bool is_traced(DomId domid) {
  return traced_word(domid).load(std::memory_order_relaxed) != 0;
}

// The domain's cell: never waits for the reader. Ends the trace when nobody has read for kReaderPatienceNs.
void append_trace(DomId domid, const TraceRecord& record, uint64_t now_ns);
inline constexpr uint64_t kReaderPatienceNs = 10'000'000'000;

class Machine;

// The reading end. Lives in one thread.
class TraceReader {
 public:
  // EBUSY: somebody else traces the domain, or there are kTraceCount already.
  static Result<TraceReader> start(DomId domid, uint64_t now_ns);
  TraceReader(TraceReader&& other) noexcept : index_(std::exchange(other.index_, kNone)), domid_(other.domid_) {}
  TraceReader& operator=(TraceReader&&) = delete;
  ~TraceReader();

  // What has come since the last call, at most kRecords. At least every few seconds, or the trace ends.
  std::vector<TraceRecord> read(uint64_t now_ns);
  // Records for which there was no room.
  uint64_t dropped() const;
  // Nobody has taken the ring away.
  bool alive() const;

 private:
  static constexpr uint32_t kNone = ~0u;
  TraceReader(uint32_t index, DomId domid) : index_(index), domid_(domid) {}

  uint32_t index_;
  DomId domid_;
};

// Of a new machine.
void format_traces();

}  // namespace xenopolis::machine
