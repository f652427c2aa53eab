// For tests: whether a log is its console's text (text.h) without a hole that it does not tell of, and without
// repetition.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "console/testing/text.h"

namespace xenopolis::console {

struct LogCheck {
  uint64_t covered = 0;  // bytes of the stream: those that are there, and those that are said to be dropped
  uint64_t dropped = 0;
  std::string fault;  // empty: there is none
};

inline LogCheck check_log(uint32_t console, std::string_view log) {
  LogCheck check;
  while (!log.empty() && check.fault.empty()) {
    const size_t bracket = log.find('[');  // the text has none
    std::string_view text = log.substr(0, bracket);
    if (bracket != std::string_view::npos && !text_fault(console, check.covered, text).empty()) {
      text.remove_suffix(1);  // the mark begins a line for itself
    }
    check.fault = text_fault(console, check.covered, text);
    check.covered += text.size();
    if (bracket == std::string_view::npos) break;
    log.remove_prefix(bracket);
    unsigned long long dropped = 0;
    int length = 0;
    sscanf(std::string(log.substr(0, 64)).c_str(), "[%llu bytes dropped]%n", &dropped, &length);
    if (length == 0 || !log.substr(static_cast<size_t>(length)).starts_with('\n')) {
      check.fault = "no mark: " + std::string(log.substr(0, 64));
      break;
    }
    check.covered += dropped;
    check.dropped += dropped;
    log.remove_prefix(static_cast<size_t>(length) + 1);
  }
  return check;
}

}  // namespace xenopolis::console
