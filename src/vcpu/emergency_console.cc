#include "vcpu/emergency_console.h"

namespace xenopolis::vcpu {

void EmergencyConsole::write(std::string_view text) {
  const uint64_t said = said_.load(std::memory_order_relaxed);
  if (said >= kMaxTotal || text.empty()) return;
  said_.fetch_add(text.size(), std::memory_order_relaxed);
  const uint64_t room = kMaxTotal - said;
  for (const char c : text.substr(0, room)) {
    if (c == '\n') {
      end_line();
    } else if (c != '\r') {
      line_ += c >= ' ' && c <= '~' ? c : '?';
      if (line_.size() >= kMaxLine) end_line();
    }
  }
  if (text.size() < room) return;
  end_line();
  write_line_("(further output is dropped)");
}

void EmergencyConsole::end_line() {
  if (!line_.empty()) write_line_(line_);
  line_.clear();
}

}  // namespace xenopolis::vcpu
