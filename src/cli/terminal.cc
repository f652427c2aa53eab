#include "cli/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

namespace xenopolis::cli {
namespace {

// A pipe that poll(2) calls writable takes so much without blocking: PIPE_BUF.
constexpr size_t kChunk = 4096;

}  // namespace

Result<Signals> take_over_signals() {
  signal(SIGPIPE, SIG_IGN);
  return Signals::take_over({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT});
}

Status RawTerminal::enter() {
  if (is_raw_) return {};
  if (tcgetattr(STDIN_FILENO, &saved_) != 0) return fail_errno("the terminal's settings");
  termios raw = saved_;
  cfmakeraw(&raw);
  if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) return fail_errno("the terminal's raw mode");
  is_raw_ = true;
  return {};
}

void RawTerminal::leave() {
  if (!is_raw_) return;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_);
  is_raw_ = false;
}

StandardOutput::StandardOutput(const Signals& signals)
    : signals_(signals), is_terminal_(isatty(STDOUT_FILENO) == 1), fd_(STDOUT_FILENO) {
  if (!is_terminal_) return;
  own_ = Fd(::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (own_) fd_ = own_.get();
}

StandardOutput::Written StandardOutput::write(std::string& text) {
  size_t written = 0;
  Written result = Written::kAll;
  while (written < text.size()) {
    pollfd waits[] = {{fd_, POLLOUT, 0}, {signals_.fd(), POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) {
      result = Written::kFailed;
      break;
    }
    if (waits[1].revents != 0) {
      result = Written::kSignalled;
      break;
    }
    const ssize_t count = ::write(fd_, text.data() + written, std::min(text.size() - written, kChunk));
    if (count > 0) written += static_cast<size_t>(count);
    if (count < 0 && errno != EAGAIN && errno != EINTR) {
      result = errno == EPIPE ? Written::kNobodyReads : Written::kFailed;
      break;
    }
  }
  text.erase(0, written);
  return result;
}

}  // namespace xenopolis::cli
