// A process with one transport. All of them live as long as the run, and measure when they are told to, one at a time:
// so repetitions of different subjects take turns, and a neighbour's noise meets all alike.
#pragma once

#include <sys/types.h>

#include <utility>

#include "base/fd.h"
#include "measure.h"

namespace xenopolis::bench {

class Worker {
 public:
  Worker(const Subject& subject, uint32_t channels, Cpus cpus);
  Worker(Worker&& other) noexcept
      : subject_(other.subject_),
        channels_(other.channels_),
        socket_(std::move(other.socket_)),
        pid_(std::exchange(other.pid_, 0)) {}
  ~Worker();

  const Subject& subject() const { return *subject_; }
  uint32_t channels() const { return channels_; }

  // Runs the measurement there, on the consumer's CPU, and waits for it.
  Figures run(std::string_view measurement, double seconds, const nlohmann::json& parameters);

 private:
  const Subject* subject_;
  uint32_t channels_;
  Fd socket_;
  pid_t pid_ = 0;
};

}  // namespace xenopolis::bench
