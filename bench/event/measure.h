// The measurements. Each runs in a worker (worker.h), on one transport, and returns figures: a number is one
// repetition's value, an array holds samples of which percentiles are taken over all repetitions.
#pragma once

#include "clock.h"
#include "transport.h"

namespace xenopolis::bench {

struct Setting {
  uint32_t channels;
  Cpus cpus;
  double seconds;             // how long a measurement that has no natural end lasts
  nlohmann::json parameters;  // of this measurement
};

using Figures = nlohmann::json;  // an object
using Measurement = Figures (*)(Transport&, const Setting&);

// Events a second from a sender's thread to the consumer's, each on a CPU of its own.
Figures measure_throughput(Transport& transport, const Setting& setting);

// By name; null: there is none.
Measurement measurement(std::string_view name);

// Not of a transport but of the machine: how often a second a word passes from one CPU to the other.
double passes_per_second(const Cpus& cpus, double seconds);

}  // namespace xenopolis::bench
