// Runs `polis console` or `polis consoles` as a person does, at a terminal, or as a script does, in pipes.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"

namespace xenopolis::testing {

class ClientProcess {
 public:
  enum class Where {
    kTerminal,  // stdin, stdout, stderr are one
    kPipes,     // each is one
    kHalfway,   // stdin is a terminal, stdout and stderr are pipes
  };
  ClientProcess(Where where, std::vector<std::string> arguments);
  ~ClientProcess();
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  void type(const std::string& text);
  void end_input() { input_.reset(); }
  void close_output() { output_.reset(); }
  // Waits until its output contains `text` behind what was waited for before. False when it has ended without, or takes
  // too long.
  bool shows(const std::string& text);
  // All that it has written to stdout so far.
  const std::string& output() const { return shown_; }
  const std::string& errors() const { return errors_; }

  void signal(int number) const;
  pid_t pid() const { return pid_; }
  // Exit status, or 128 + the signal that killed it; -1: it goes on. All output has been read.
  int wait();
  bool becomes(const std::function<bool()>& condition);

  void resize(unsigned short columns) const;
  // Of its terminal: keys come as they are typed, nothing is done with them.
  bool is_raw() const;
  // As shells expect it: lines come whole, with echo, and Ctrl-C is a signal.
  bool is_cooked() const;

 private:
  bool read_more();

  pid_t pid_ = 0;
  Fd input_, output_, error_output_;
  Fd terminal_;  // the slave, so that it stays when the process goes
  std::string shown_, errors_;
  size_t seen_ = 0;
};

}  // namespace xenopolis::testing
