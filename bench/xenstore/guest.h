// A guest's side of its ring (xenstore-ring.txt), as far as well-behaved guests go.
#pragma once

#include <string_view>

#include "daemon.h"
#include "raw_client.h"

namespace xenopolis::bench {

class Guest {
 public:
  Guest(Daemon& daemon, DomId domid) : daemon_(daemon), domid_(domid) {}

  DomId domid() const { return domid_; }

  // Puts the bytes into the ring, which must have room, and notifies the daemon.
  void send(std::string_view bytes);
  // The next message, reply or event.
  Message receive();
  // Drops what has come, and forgets half a message.
  void drop_input();

 private:
  // Whatever is in the ring.
  std::string take();

  Daemon& daemon_;
  DomId domid_;
  MessageStream stream_;
};

}  // namespace xenopolis::bench
