// SIGINT and SIGTERM as a flag.
#pragma once

#include <signal.h>

#include <memory>
#include <optional>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/signals.h"

namespace xenopolis::experiment {

// For the time of its life, seen whenever the loop runs.
class Interruption {
 public:
  static Result<std::unique_ptr<Interruption>> watch(EventLoop& loop);
  ~Interruption();

  bool happened() const { return happened_; }

 private:
  explicit Interruption(EventLoop& loop) : loop_(loop) {}

  EventLoop& loop_;
  std::optional<Signals> signals_;
  sigset_t before_{};
  bool happened_ = false;
};

}  // namespace xenopolis::experiment
