#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "measure.h"

namespace xenopolis::bench {
namespace {

// Of silence between two events: long enough for a sleeper to fall asleep.
constexpr uint64_t kLeastGapNs = 30'000, kMostGapNs = 90'000;
// The channels of the domain that storms, and how many of its events go out between two looks at the clock.
constexpr uint32_t kStormChannels = 1000, kStormBurst = 8;

// The sender's thread. With a storm it is both domains, the one that storms and the one that suffers: on two CPUs a
// third thread would measure the scheduler.
class Prober {
 public:
  Prober(Transport& transport, const Setting& setting)
      : transport_(transport),
        setting_(setting),
        sleeping_(setting.parameters.at("sleeping").get<bool>()),
        round_trip_(setting.parameters.at("round_trip").get<bool>()),
        storm_(setting.parameters.at("storm").get<bool>() ? std::min(setting.channels - 1, kStormChannels) : 0),
        order_(shuffled_channels(setting.channels)) {}

  void run() {
    pin_to(setting_.cpus.sender, "sender");
    transport_.expect_answers();
    const uint64_t end = now_ns() + static_cast<uint64_t>(setting_.seconds * 1e9);
    for (uint64_t probe = 0; probe < kWarmProbes + 3 || now_ns() < end; ++probe) {
      pass_ns(kLeastGapNs + random_() % (kMostGapNs - kLeastGapNs));
      // Beside a storm the last channel, which belongs to a domain of its own.
      channel_ = storm_ != 0 ? setting_.channels : order_[probe % order_.size()];
      const uint64_t taken = taken_.value.load();
      const uint64_t begin = now_ns();
      sent_at_ns_.value.store(begin);
      probed_.value.store(channel_);
      transport_.send(channel_);
      if (round_trip_) {
        while (!transport_.take_answer(channel_, sleeping_ && storm_ == 0)) storm();
        if (probe >= kWarmProbes) round_trips_ns_.push_back(now_ns() - begin);
      }
      while (taken_.value.load() == taken) storm();
    }
    done_.value.store(true);
  }

  // In the consumer's thread.
  void serve(Channel channel) {
    // probed_ is 0 between two probes: then this channel is the storm's.
    if (channel != probed_.value.load(std::memory_order_relaxed)) return;
    const uint64_t now = now_ns();
    if (round_trip_) transport_.answer(channel);
    if (taken_.value.load(std::memory_order_relaxed) >= kWarmProbes) {
      one_ways_ns_.push_back(now - sent_at_ns_.value.load());
    }
    probed_.value.store(0);
    taken_.value.fetch_add(1);
  }

  bool done() const { return done_.value.load(); }
  // After both threads have ended.
  const std::vector<uint64_t>& samples() const { return round_trip_ ? round_trips_ns_ : one_ways_ns_; }
  std::string name() const {
    return fmt::format("{}{}{}_ns", round_trip_ ? "round_trip" : "one_way", storm_ != 0 ? "_storm" : "",
                       sleeping_ ? "" : "_spinning");
  }

 private:
  static constexpr uint64_t kWarmProbes = 10;

  void storm() {
    if (storm_ == 0) _mm_pause();
    for (uint32_t i = 0; storm_ != 0 && i < kStormBurst; ++i) {
      transport_.send(next_ + 1);
      next_ = (next_ + 1) % storm_;
    }
  }
  void pass_ns(uint64_t ns) {
    for (const uint64_t end = now_ns() + ns; now_ns() < end;) storm();
  }

  Transport& transport_;
  const Setting& setting_;
  const bool sleeping_, round_trip_;
  const uint32_t storm_;
  const std::vector<Channel> order_;
  std::mt19937 random_;
  Channel channel_ = 0;
  uint32_t next_ = 0;
  std::vector<uint64_t> round_trips_ns_;
  OwnLine<std::atomic<uint64_t>> sent_at_ns_;
  OwnLine<std::atomic<Channel>> probed_;
  OwnLine<std::atomic<uint64_t>> taken_;
  OwnLine<std::atomic<bool>> done_;
  std::vector<uint64_t> one_ways_ns_;
};

}  // namespace

// One event at a time, on a channel that has been silent. One way: from before the send to the handler's begin. Round
// trip: until the sender has taken the answer.
Figures measure_latency(Transport& transport, const Setting& setting) {
  Prober prober(transport, setting);
  const int timeout_ms = setting.parameters.at("sleeping").get<bool>() ? 20 : 0;
  std::thread thread([&] { prober.run(); });
  const Transport::Handler handler = [&](Channel channel) { prober.serve(channel); };
  while (!prober.done()) {
    if (transport.wait(timeout_ms)) transport.serve(handler);
  }
  thread.join();
  while (transport.wait(0)) transport.serve(handler);  // the rest of a storm
  return {{prober.name(), prober.samples()}};
}

}  // namespace xenopolis::bench
