// The protocol itself (xs_wire.h), so that requests can be pipelined and a thousand connections held.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "xen_abi/xen.h"

namespace xenopolis::bench {

// A string with its nul, as payloads are made of.
inline std::string terminated(std::string_view text) {
  return std::string(text) + '\0';
}

// One message.
std::string message(uint32_t type, std::string_view payload, uint32_t transaction = 0);

struct Message {
  xsd_sockmsg header;
  std::string payload;
};

// A stream of bytes as messages.
class MessageStream {
 public:
  void append(std::string_view bytes);
  // False: not all of the next one is there yet.
  bool next(Message& message);

 private:
  std::string bytes_;
  size_t taken_ = 0;
};

// Every failure ends the program, also that of a request, unless it is said that it may fail.
class RawClient {
 public:
  explicit RawClient(const std::string& socket_path);
  static bool can_connect(const std::string& socket_path);

  pid_t peer_pid() const;

  // Sends a request and waits for its reply; events on the way are dropped.
  std::string ask(uint32_t type, std::string_view payload, uint32_t transaction = 0);
  void send(std::string_view bytes);
  // The next message, reply or event.
  Message receive();
  // So many replies, none of which must be an error; events are dropped.
  void receive_replies(size_t count);

  // Sends every message and takes every reply, with about `kInFlight` requests on the way.
  void pipeline(std::span<const std::string> messages);

 private:
  Fd socket_;
  MessageStream stream_;
};

}  // namespace xenopolis::bench
