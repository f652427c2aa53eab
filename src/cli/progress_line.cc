#include "cli/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/terminal_width.h"

namespace xenopolis::cli {

ProgressLine::ProgressLine(bool wanted) : is_shown_(wanted && isatty(STDERR_FILENO) == 1) {}

void ProgressLine::show(const std::string& text) {
  if (!is_shown_) return;
  // A line that the terminal breaks could not be written over.
  const size_t room = terminal_width(STDERR_FILENO) - 1;
  const std::string shown = text.substr(0, room);
  fmt::print(stderr, "\r{:<{}}", shown, std::min(width_, room));
  width_ = shown.size();
  fflush(stderr);
}

void ProgressLine::clear() {
  if (width_ == 0) return;
  fmt::print(stderr, "\r{:<{}}\r", "", std::min(width_, terminal_width(STDERR_FILENO) - 1));
  fflush(stderr);
  width_ = 0;
}

}  // namespace xenopolis::cli
