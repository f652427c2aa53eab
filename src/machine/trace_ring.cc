#include "machine/trace_ring.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace xenopolis::machine {
namespace {

// Nothing to repair after a holder's death: is_taken and written are stored last, what came before them is as if it had
// not happened; and see clear_stale_word().
template <class Body>
auto with_lock(Trace& trace, Body&& body) {
  const RobustGuard guard(trace.lock, [] {});
  return std::forward<Body>(body)();
}

void release(Trace& trace) {
  traced_word(trace.domid).store(0, std::memory_order_relaxed);
  trace.is_taken = 0;
}

bool is_abandoned(const Trace& trace, uint64_t now_ns) {
  const uint64_t seen_ns = trace.reader_seen_ns.load(std::memory_order_relaxed);
  return now_ns > seen_ns && now_ns - seen_ns > kReaderPatienceNs;
}

void append_locked(Trace& trace, const TraceRecord& record, uint64_t now_ns) {
  const uint64_t written = trace.written.load(std::memory_order_relaxed);
  if (written - trace.read.load(std::memory_order_acquire) >= Trace::kRecords) {
    trace.dropped.fetch_add(1, std::memory_order_relaxed);
    if (is_abandoned(trace, now_ns)) release(trace);
    return;
  }
  trace.records[written % Trace::kRecords] = record;
  trace.written.store(written + 1, std::memory_order_release);
}

// A word that names a ring which is not the domain's, or whose reader is gone, is as good as none: its reader died
// between the word and the ring.
Status clear_stale_word(DomId domid, uint64_t now_ns) {
  const uint32_t word = traced_word(domid).load();
  if (word == 0 || word > kTraceCount) return {};
  Trace& trace = trace_at(word - 1);
  return with_lock(trace, [&]() -> Status {
    if (trace.is_taken != 0 && trace.domid == domid) {
      if (!is_abandoned(trace, now_ns)) {
        return fail(EBUSY, fmt::format("domain {} is traced by process {}", domid, trace.reader.load()));
      }
      release(trace);
    }
    uint32_t stale = word;
    traced_word(domid).compare_exchange_strong(stale, 0);
    return {};
  });
}

}  // namespace

void format_traces() {
  for (uint32_t index = 0; index < kTraceCount; ++index) trace_at(index).lock.init();
}

void append_trace(DomId domid, const TraceRecord& record, uint64_t now_ns) {
  const uint32_t word = traced_word(domid).load(std::memory_order_acquire);
  if (word == 0 || word > kTraceCount) return;
  Trace& trace = trace_at(word - 1);
  // The reader may have been stopped with the lock (Ctrl-Z).
  const std::optional<RobustLock::Taken> taken = trace.lock.try_lock();
  if (!taken) {
    trace.dropped.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (*taken == RobustLock::Taken::kHolderDied) trace.lock.mark_repaired();
  if (trace.is_taken != 0 && trace.domid == domid) append_locked(trace, record, now_ns);
  trace.lock.unlock();
}

Result<TraceReader> TraceReader::start(DomId domid, uint64_t now_ns) {
  TRY_VOID(clear_stale_word(domid, now_ns));
  for (uint32_t index = 0; index < kTraceCount; ++index) {
    Trace& trace = trace_at(index);
    bool lost_race = false;
    const bool is_ours = with_lock(trace, [&] {
      if (trace.is_taken != 0 && is_abandoned(trace, now_ns)) release(trace);
      if (trace.is_taken != 0) return false;
      uint32_t nobody = 0;
      lost_race = !traced_word(domid).compare_exchange_strong(nobody, index + 1);
      if (lost_race) return false;
      trace.domid = domid;
      trace.reader = getpid();
      trace.reader_seen_ns = now_ns;
      trace.dropped.store(0, std::memory_order_relaxed);
      trace.read.store(trace.written.load(std::memory_order_relaxed), std::memory_order_relaxed);
      trace.is_taken = 1;
      return true;
    });
    if (is_ours) return TraceReader(index, domid);
    if (lost_race) return fail(EBUSY, fmt::format("somebody else begins to trace domain {}", domid));
  }
  return fail(EBUSY, fmt::format("{} domains are traced already", kTraceCount));
}

TraceReader::~TraceReader() {
  if (index_ == kNone) return;
  Trace& trace = trace_at(index_);
  with_lock(trace, [&] {
    if (trace.is_taken != 0 && trace.domid == domid_ && trace.reader == getpid()) release(trace);
  });
}

std::vector<TraceRecord> TraceReader::read(uint64_t now_ns) {
  Trace& trace = trace_at(index_);
  trace.reader_seen_ns.store(now_ns, std::memory_order_relaxed);
  const uint64_t begin = trace.read.load(std::memory_order_relaxed);
  const uint64_t end = trace.written.load(std::memory_order_acquire);
  std::vector<TraceRecord> records;
  records.reserve(end - begin);
  for (uint64_t at = begin; at != end; ++at) records.push_back(trace.records[at % Trace::kRecords]);
  trace.read.store(end, std::memory_order_release);
  return records;
}

uint64_t TraceReader::dropped() const {
  return trace_at(index_).dropped.load(std::memory_order_relaxed);
}

bool TraceReader::alive() const {
  return traced_word(domid_).load() == index_ + 1 && trace_at(index_).reader.load() == getpid();
}

}  // namespace xenopolis::machine
