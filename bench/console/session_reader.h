// A client of RUN/console.sock (console/client_protocol.h).
#pragma once

#include <string>

#include "base/fd.h"
#include "console/client_protocol.h"
#include "daemon.h"

namespace xenopolis::bench {

class SessionReader final : public Reader {
 public:
  // Attached when it returns: what `domain` writes from then on will come. `writes`: may say something, too.
  SessionReader(const std::string& socket_path, const std::string& domain, bool writes);

  int fd() const override { return socket_.get(); }
  std::string_view take() override;
  // Waits for text.
  std::string_view wait();
  void say(std::string_view input);
  // The same, and waits until the guest's ring has it: then this may end.
  void say_last(std::string_view input);

 private:
  void receive(int timeout_ms);

  Fd socket_;
  console::FrameReader frames_;
  bool is_live_ = false, is_input_taken_ = false;
  std::string text_;
};

}  // namespace xenopolis::bench
