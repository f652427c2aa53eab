// The user's end: a terminal in raw mode that is itself again afterwards, signals as events, output that a signal
// interrupts.
#pragma once

#include <poll.h>
#include <termios.h>

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/signals.h"

namespace xenopolis::cli {

// What ends or suspends a program. SIGPIPE is ignored: write(2) says EPIPE. The terminal must be itself again before
// die_of().
Result<Signals> take_over_signals();

// Standard input in raw mode, while it is a terminal.
class RawTerminal {
 public:
  RawTerminal() = default;
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() { leave(); }

  Status enter();
  void leave();
  bool is_raw() const { return is_raw_; }

 private:
  termios saved_{};
  bool is_raw_ = false;
};

// Standard output. Waits for a slow reader, but not when a signal comes.
class StandardOutput {
 public:
  explicit StandardOutput(const Signals& signals);

  enum class Written { kAll, kSignalled, kNobodyReads, kFailed };
  // Takes from `text` what has been written. kFailed: errno says why.
  Written write(std::string& text);
  // To wait with: poll() tells when nobody reads any more, before something is written. A terminal's end is a SIGHUP.
  pollfd wait_for_end() const { return {is_terminal_ ? -1 : fd_, 0, 0}; }
  bool is_terminal() const { return is_terminal_; }

 private:
  const Signals& signals_;
  bool is_terminal_;
  Fd own_;  // of a terminal: a description of our own, that may be non-blocking without others noticing
  int fd_;
};

}  // namespace xenopolis::cli
