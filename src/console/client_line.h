// A client's line to polis-consoled, see client_protocol.h.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "console/client_protocol.h"

namespace xenopolis::console {

class ClientLine {
 public:
  // Sends the request and waits for the answer. ECONNREFUSED and ENOENT with nobody listening after `patience_ms`; or
  // what the daemon refuses with.
  static Result<std::unique_ptr<ClientLine>> open(const std::string& path, const ClientRequest& request,
                                                  int patience_ms);

  const nlohmann::json& answer() const { return answer_; }
  int fd() const { return socket_.get(); }

  // Takes what has arrived. False: the daemon has ended the connection, or is gone.
  bool receive();
  // Valid until receive().
  std::optional<Frame> next() { return reader_.next(); }

  // What is typed, as far as there is room for what is on its way: the rest is for the caller to keep.
  size_t type(std::string_view text);
  // Nothing more will be typed.
  void end_input() { ends_input_ = true; }
  bool has_output() const { return !output_.empty() || ends_input_; }
  // As much as the socket takes. False: nobody is there.
  bool send();

 private:
  explicit ClientLine(Fd socket) : socket_(std::move(socket)) {}
  Status wait_for_answer();

  Fd socket_;
  nlohmann::json answer_;
  FrameReader reader_;
  std::string output_;
  bool ends_input_ = false;
};

}  // namespace xenopolis::console
