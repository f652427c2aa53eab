#include "cli/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace xenopolis::cli {

ProgressLine::ProgressLine(bool wanted) : is_shown_(wanted && isatty(STDERR_FILENO) == 1) {}

void ProgressLine::show(const std::string& text) {
  if (!is_shown_) return;
  fmt::print(stderr, "\r{:<{}}", text, width_);
  width_ = std::max(width_, text.size());
  fflush(stderr);
}

void ProgressLine::clear() {
  if (width_ == 0) return;
  fmt::print(stderr, "\r{:<{}}\r", "", width_);
  fflush(stderr);
  width_ = 0;
}

}  // namespace xenopolis::cli
