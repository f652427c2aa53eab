// The measurements. Each runs in a worker (worker.h), on one transport.
#pragma once

#include "clock.h"
#include "common/results.h"
#include "transport.h"

namespace xenopolis::bench {

struct Setting {
  uint32_t channels;
  Cpus cpus;
  double seconds;             // how long it lasts
  nlohmann::json parameters;  // of this measurement
};

using Measurement = Figures (*)(Transport&, const Setting&);

// By name; null: there is none.
Measurement measurement(std::string_view name);

Figures measure_send(Transport& transport, const Setting& setting);
// pending: how many channels; scattered: others each time, all over the port numbers, instead of the same neighbours
// each time; remote: the events were sent by the other CPU.
Figures measure_wakeup(Transport& transport, const Setting& setting);
// sleeping: the consumer sleeps in epoll_wait() when there is nothing, instead of looking again and again.
Figures measure_throughput(Transport& transport, const Setting& setting);
// sleeping: both sides sleep; round_trip: there and back; storm: beside another domain that sends without end.
Figures measure_latency(Transport& transport, const Setting& setting);
// probe: none (first against last port), same (one more port), urgent (that port has the highest priority).
Figures measure_saturation(Transport& transport, const Setting& setting);
Figures measure_memory(Transport& transport, const Setting& setting);

// Not of a transport but of the machine: how often a second a word passes from one CPU to the other.
double passes_per_second(const Cpus& cpus, double seconds);

// --- building blocks

// 1 .. channels, shuffled, always the same way.
std::vector<Channel> shuffled_channels(uint32_t channels);
// Serves what is pending, until `count` events have been served; ends the program when they do not come.
void serve_rest(Transport& transport, const Transport::Handler& handler, uint64_t count);
// What reading the clock twice costs, which is in each difference of two times.
double clock_cost_ns();

}  // namespace xenopolis::bench
