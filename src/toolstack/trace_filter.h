// Which records of a trace are shown.
#pragma once

#include <set>
#include <string>

#include "base/result.h"
#include "machine/trace_ring.h"

namespace xenopolis::toolstack {

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

}  // namespace xenopolis::toolstack
