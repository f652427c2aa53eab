#include "experiment/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/clock.h"

namespace xenopolis::experiment {
namespace {

constexpr uint64_t kRedrawNs = 100'000'000;
constexpr uint64_t kBarWidth = 30;

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
    const uint64_t filled = std::min(done, total_) * kBarWidth / total_;
    fmt::print(stderr, "\r\033[K{:<12} [{:#<{}}{:.<{}}] {}/{}  {:.1f} s{}", phase_, "", filled, "", kBarWidth - filled,
               done, total_, seconds, last ? "\n" : "");
    std::fflush(stderr);
  } else {
    fmt::print(stderr, "{}: {}/{} after {:.1f} s\n", phase_, done, total_, seconds);
  }
}

}  // namespace xenopolis::experiment
