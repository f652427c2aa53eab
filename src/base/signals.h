// Signals that are read instead of delivered.
#pragma once

#include <initializer_list>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis {

class Signals {
 public:
  // Blocks `numbers` in the calling thread, and in those that it starts.
  static Result<Signals> take_over(std::initializer_list<int> numbers);

  // Readable when one has come.
  int fd() const { return fd_.get(); }
  // 0: none has.
  int next();

 private:
  explicit Signals(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// Ends this process as if the signal had been delivered.
[[noreturn]] void die_of(int signal);

}  // namespace xenopolis
