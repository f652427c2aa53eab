// Traces of domains for people, in strace's manner: hypercalls with their arguments by name, what they answered, and
// what happened between them.
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/result.h"
#include "machine/trace_ring.h"

namespace xenopolis::toolstack {

// "event_channel_op", "trap", "syscall", "interrupt", "upcall", "wait", "end": what filters and sums go by.
std::string trace_name(const machine::TraceRecord& record);

// "event_channel_op(EVTCHNOP_send, {port=3}) = 0", "--- page fault at 0x10, code 0x6, rip 0x1000 ---",
// "+++ shut down: poweroff +++". Printable, one line; entries of a multicall, which come before it, begin with two
// blanks.
std::string trace_text(const machine::TraceRecord& record);

// "-e": names as trace_name() gives them, or "hypercalls" for all of these, with commas between; "!" in front of the
// list: all others.
class TraceFilter {
 public:
  // EINVAL: there is no such name.
  static Result<TraceFilter> parse(const std::string& text);
  bool wants(const machine::TraceRecord& record) const;

 private:
  std::set<std::string> names_;
  bool is_inverted_ = true;  // all but none
};

// "-c": how often and how long, as strace -c prints it.
class TraceSummary {
 public:
  void add(const machine::TraceRecord& record);
  std::string table() const;

 private:
  struct Row {
    uint64_t calls = 0, errors = 0, duration_ns = 0;
  };
  std::map<std::string, Row> rows_;
  uint64_t entries_ns_ = 0;  // of the multicall that has not returned yet
};

}  // namespace xenopolis::toolstack
