// Runs Debian's xenconsole on a pseudo-terminal of its own, as a person does.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"

namespace xenopolis::testing {

class XenconsoleProcess {
 public:
  // Whether it is installed (package xen-utils-4.17).
  static bool is_installed();

  // `while_waiting` is called again and again by those that wait.
  XenconsoleProcess(const std::string& xenstore_socket, std::vector<std::string> arguments,
                    std::function<void()> while_waiting);
  ~XenconsoleProcess();
  XenconsoleProcess(const XenconsoleProcess&) = delete;
  XenconsoleProcess& operator=(const XenconsoleProcess&) = delete;

  void type(const std::string& keys);
  // What it has shown up to and with `text` since the last call; all that came, without it, if it takes too long.
  std::string read_until(const std::string& text);
  // Its exit status, or 128 + the signal that killed it; -1 when it goes on.
  int wait();

 private:
  bool read_some();

  pid_t pid_ = 0;
  Fd master_;
  std::string shown_;
  std::function<void()> while_waiting_;
};

}  // namespace xenopolis::testing
