#include <atomic>
#include <thread>

#include "measure.h"

namespace xenopolis::bench {

// All channels are active, in turns. The sender sends on a channel once its last event has been served, which the
// handler says by counting in a byte per channel: so no two events become one, and every event that was sent must be
// served. What is counted is what the handler has seen.
Figures measure_throughput(Transport& transport, const Setting& setting) {
  const int timeout_ms = setting.parameters.at("sleeping").get<bool>() ? 100 : 0;
  std::vector<std::atomic<uint8_t>> turns(setting.channels + 1);
  OwnLine<std::atomic<bool>> stop;
  OwnLine<std::atomic<uint64_t>> sent;
  std::thread sender([&] {
    pin_to(setting.cpus.sender, "sender");
    uint64_t count = 0;
    for (uint8_t turn = 0; !stop.value.load(std::memory_order_relaxed); ++turn) {
      for (Channel channel = 1; channel <= setting.channels; ++channel) {
        while (turns[channel].load(std::memory_order_acquire) != turn) {
          if (stop.value.load(std::memory_order_relaxed)) break;
          _mm_pause();
        }
        if (stop.value.load(std::memory_order_relaxed)) break;
        transport.send(channel);
        ++count;
      }
    }
    sent.value.store(count);
  });
  OwnLine<uint64_t> served_by_handler;
  uint64_t& served = served_by_handler.value;
  const Transport::Handler handler = [&](Channel channel) {
    turns[channel].store(static_cast<uint8_t>(turns[channel].load(std::memory_order_relaxed) + 1),
                         std::memory_order_release);
    ++served;
  };
  const auto serve_until = [&](uint64_t end_ns) {
    uint64_t now = now_ns();
    for (; now < end_ns; now = now_ns()) {
      if (transport.wait(timeout_ms)) transport.serve(handler);
    }
    return now;
  };
  const auto span_ns = static_cast<uint64_t>(setting.seconds * 1e9);
  const uint64_t begin = serve_until(now_ns() + span_ns / 5);  // warm
  const uint64_t served_before = served;
  const uint64_t end = serve_until(begin + span_ns);
  const uint64_t served_within = served - served_before;
  stop.value.store(true);
  sender.join();
  if (served < sent.value.load()) serve_rest(transport, handler, sent.value.load() - served);
  if (served != sent.value.load()) give_up("{} events were sent, {} served", sent.value.load(), served);
  const char* name = timeout_ms == 0 ? "throughput_spinning_events_per_s" : "throughput_events_per_s";
  return {{name, static_cast<double>(served_within) / (static_cast<double>(end - begin) * 1e-9)}};
}

// The least that two CPUs can do to tell each other something: one exchanges 0 for n as soon as the other, who adds
// up what it finds, has exchanged n for 0.
double passes_per_second(const Cpus& cpus, double seconds) {
  OwnLine<std::atomic<uint64_t>> shared;
  OwnLine<std::atomic<bool>> stop;
  auto& word = shared.value;
  std::thread receiver([&] {
    pin_to(cpus.consumer, "consumer");
    uint64_t sum = 0, received = 0;
    for (;;) {
      while (word.load(std::memory_order_relaxed) == 0 && !stop.value.load(std::memory_order_relaxed)) {
      }
      const uint64_t passed = word.exchange(0);
      if (passed == 0) break;
      sum += passed;
      ++received;
    }
    require(sum == received * (received + 1) / 2, "each word was received");
  });
  double passes_per_s = 0;
  std::thread sender([&] {
    pin_to(cpus.sender, "sender");
    uint64_t passes = 0;
    const auto pass_until = [&](uint64_t end_ns) {
      uint64_t now = now_ns();
      for (; now < end_ns; now = now_ns()) {
        for (unsigned i = 0; i < 1000; ++i) {
          while (word.load(std::memory_order_relaxed) != 0) {
          }
          require(word.exchange(++passes) == 0, "a word is passed when the last one was taken");
        }
      }
      return now;
    };
    const auto span_ns = static_cast<uint64_t>(seconds * 1e9);
    const uint64_t begin = pass_until(now_ns() + span_ns / 5);
    const uint64_t before = passes;
    const uint64_t end = pass_until(begin + span_ns);
    passes_per_s = static_cast<double>(passes - before) / (static_cast<double>(end - begin) * 1e-9);
    while (word.load() != 0) _mm_pause();
    stop.value.store(true);
  });
  sender.join();
  receiver.join();
  return passes_per_s;
}

}  // namespace xenopolis::bench
