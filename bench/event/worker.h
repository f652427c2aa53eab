// A process with one transport.
#pragma once

#include "common/worker.h"
#include "measure.h"

namespace xenopolis::bench {

class TransportWorker {
 public:
  TransportWorker(const Subject& subject, uint32_t channels, Cpus cpus);

  const Subject& subject() const { return *subject_; }
  uint32_t channels() const { return channels_; }

  // Runs the measurement there, on the consumer's CPU, and waits for it.
  Figures run(std::string_view measurement, double seconds, const nlohmann::json& parameters);

 private:
  const Subject* subject_;
  uint32_t channels_;
  Worker worker_;
};

}  // namespace xenopolis::bench
