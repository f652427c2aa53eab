#include "worker.h"

#include <string>

namespace xenopolis::bench {
namespace {

constexpr double kPatienceS = 240;

Worker::Serve set_up(const Subject& subject, uint32_t channels, Cpus cpus) {
  pin_to(cpus.consumer, "consumer");
  // std::function wants to be copied.
  const std::shared_ptr<Transport> transport = subject.make(subject, channels);
  return [transport, channels, cpus](const nlohmann::json& request) {
    const Measurement function = measurement(request.at("measurement").get<std::string>());
    require(function != nullptr, "a measurement of this name exists");
    return function(*transport, {channels, cpus, request.at("seconds").get<double>(), request.at("parameters")});
  };
}

}  // namespace

TransportWorker::TransportWorker(const Subject& subject, uint32_t channels, Cpus cpus)
    : subject_(&subject), channels_(channels), worker_(fmt::format("{} with {} channels", subject.name, channels), [&] {
        return set_up(subject, channels, cpus);
      }) {
  if (!worker_.wait_until_ready(kPatienceS)) give_up("{} with {} channels takes too long", subject.name, channels);
}

Figures TransportWorker::run(std::string_view measurement, double seconds, const nlohmann::json& parameters) {
  return worker_.ask({{"measurement", measurement}, {"seconds", seconds}, {"parameters", parameters}},
                     std::string(measurement));
}

}  // namespace xenopolis::bench
