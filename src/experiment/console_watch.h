// Sees domains come up on their consoles, as `polis consoles --tail` does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/result.h"
#include "console/client_line.h"

namespace xenopolis::experiment {

// One line to polis-consoled, on which all consoles are heard.
class ConsoleWatch {
 public:
  using Seen = std::function<void(const std::string& name)>;

  // `path`: of the daemon's socket. A daemon that is started again is asked again.
  static Result<std::unique_ptr<ConsoleWatch>> start(EventLoop& loop, std::string path, Seen seen);
  ~ConsoleWatch();

  // Calls `seen` once when the domain has written `text`, or has already.
  void expect(const std::string& name, const std::string& text);

 private:
  struct Domain {
    std::string text;  // expected; empty: nothing yet
    std::string tail;  // of what was written: the expected text may come in pieces
    bool is_done = false;
  };

  ConsoleWatch(EventLoop& loop, std::string path, Seen seen)
      : loop_(loop), path_(std::move(path)), seen_(std::move(seen)) {}
  Status listen();
  void receive();
  void look(const std::string& name, Domain& domain);

  EventLoop& loop_;
  const std::string path_;
  Seen seen_;
  std::unique_ptr<console::ClientLine> line_;
  std::unordered_map<uint32_t, std::string> names_;  // by domid << 16 | console
  std::unordered_map<std::string, Domain> domains_;
};

}  // namespace xenopolis::experiment
