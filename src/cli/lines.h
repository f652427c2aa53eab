// A console's output as lines of plain text: what many consoles say can be shown one below the other, and searched.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "console/client_escapes.h"

namespace xenopolis::cli {

// Escape sequences and control characters but the tab are left out, and what is no UTF-8 becomes a question mark: a
// guest does not steer the terminal of who looks at many.
class Lines {
 public:
  // Longer lines are cut in pieces.
  static constexpr size_t kMostBytes = 4096;

  using Visitor = std::function<void(std::string_view line, uint64_t time_ms)>;

  // Calls `visit` for each line that is complete now, with the time at which its first byte was written.
  void add(std::string_view text, uint64_t time_ms, const Visitor& visit);
  // For a last line without an end.
  void finish(const Visitor& visit);

 private:
  void add_text(std::string_view text, uint64_t time_ms, const Visitor& visit);
  void end_line(const Visitor& visit);

  console::EscapeScanner scanner_;
  std::string line_;
  uint64_t time_ms_ = 0;
  bool has_begun_ = false;
};

}  // namespace xenopolis::cli
