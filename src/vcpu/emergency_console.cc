#include "vcpu/emergency_console.h"

namespace xenopolis::vcpu {

void EmergencyConsole::write(std::string_view text) {
  for (const char c : text) {
    if (total_ >= kMaxTotal) return;
    if (++total_ == kMaxTotal) {
      end_line();
      write_line_("(further output is dropped)");
      return;
    }
    if (c == '\n') {
      end_line();
    } else if (c != '\r') {
      line_ += c >= ' ' && c <= '~' ? c : '?';
      if (line_.size() >= kMaxLine) end_line();
    }
  }
}

void EmergencyConsole::end_line() {
  if (!line_.empty()) write_line_(line_);
  line_.clear();
}

}  // namespace xenopolis::vcpu
