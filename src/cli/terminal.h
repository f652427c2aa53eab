// The user's end: a terminal in raw mode that is itself again afterwards, signals as events, output that a signal
// interrupts.
#pragma once

#include <termios.h>

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::cli {

// What ends or suspends a program, readable instead of delivered. SIGPIPE is ignored: write(2) says EPIPE.
class Signals {
 public:
  static Result<Signals> take_over();

  int fd() const { return fd_.get(); }
  // 0: none has come.
  int next();
  // Ends this process as if the signal had been delivered. The terminal must be itself again.
  [[noreturn]] static void die_of(int signal);

 private:
  explicit Signals(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

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
  bool is_terminal() const { return is_terminal_; }

 private:
  const Signals& signals_;
  bool is_terminal_;
  Fd own_;  // of a terminal: a description of our own, that may be non-blocking without others noticing
  int fd_;
};

}  // namespace xenopolis::cli
