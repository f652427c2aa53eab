// A trace in sums.
#pragma once

#include <map>
#include <string>

#include "machine/trace_ring.h"

namespace xenopolis::toolstack {

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
