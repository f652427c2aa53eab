#include "experiment/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/terminal_width.h"

namespace xenopolis::experiment {
namespace {

constexpr uint64_t kRedrawNs = 100'000'000;
constexpr uint64_t kBarWidth = 30;
constexpr size_t kPhaseWidth = 12;

}  // namespace

Progress::Progress(std::string phase, uint64_t total, bool quiet)
    : phase_(std::move(phase)),
      total_(std::max<uint64_t>(total, 1)),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_ns_(MonotonicClock().now_ns()),
      next_line_((total_ + 9) / 10) {
  if (!quiet_ && terminal_) draw(0, false);
}

Progress::~Progress() {
  if (!quiet_ && (terminal_ || done_ < total_)) draw(done_, true);
}

void Progress::update(uint64_t done) {
  done_ = done;
  if (quiet_) return;
  if (terminal_) {
    if (MonotonicClock().now_ns() - drawn_ns_ >= kRedrawNs) draw(done, false);
  } else if (done >= next_line_) {
    draw(done, false);
    next_line_ = std::max(done + 1, next_line_ + (total_ + 9) / 10);
  }
}

void Progress::draw(uint64_t done, bool last) {
  drawn_ns_ = MonotonicClock().now_ns();
  const double seconds = static_cast<double>(drawn_ns_ - start_ns_) / 1e9;
  if (terminal_) {
    // A line that the terminal breaks could not be written over.
    const size_t room = terminal_width(STDERR_FILENO) - 1;
    const std::string figures = fmt::format("{}/{}  {:.1f} s", done, total_, seconds);
    const size_t others = std::max(phase_.size(), kPhaseWidth) + figures.size() + std::string_view(" [] ").size();
    const uint64_t bar = room > others ? std::min<uint64_t>(kBarWidth, room - others) : 0;
    const uint64_t filled = std::min(done, total_) * bar / total_;
    const std::string line =
        fmt::format("{:<{}} [{:#<{}}{:.<{}}] {}", phase_, kPhaseWidth, "", filled, "", bar - filled, figures);
    fmt::print(stderr, "\r{:<{}}{}", line.substr(0, room), std::min(drawn_width_, room), last ? "\n" : "");
    drawn_width_ = line.size();
    std::fflush(stderr);
  } else {
    fmt::print(stderr, "{}: {}/{} after {:.1f} s\n", phase_, done, total_, seconds);
  }
}

}  // namespace xenopolis::experiment
