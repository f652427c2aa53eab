// CONTROL live-update: the daemon becomes another program without any client noticing. Nodes, guests and settings are
// in the journal anyway; what belongs to sockets goes over in a file of its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "xenstore/control.h"

namespace xenopolis::xenstore {

// Transactions that are open end with EAGAIN, so there is nothing to wait for: -F and -t of xenstore-control change
// nothing.
class LiveUpdate {
 public:
  // How this program was called.
  explicit LiveUpdate(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {}

  // "-f|<file>", "-c|<arguments>", "-s|[-t|<seconds>|][-F|]", "-a": as xenstore-control says them, one after the other.
  Control::Answer command(Control::Arguments arguments);

  // "-s" has been said.
  bool is_due() const { return is_due_; }
  // Becomes the program. Returns only if that fails: then all goes on as before. `saved`: SocketListener::save().
  void become_next(int journal, std::string_view saved);

 private:
  std::vector<std::string> arguments_;
  std::string program_;
  std::string command_line_;  // instead of arguments_; empty: the same
  bool is_due_ = false;
};

// All of what become_next() has written to `file`.
Result<std::string> read_saved(Fd file);

}  // namespace xenopolis::xenstore
