#include <algorithm>
#include <atomic>
#include <thread>

#include "measure.h"

namespace xenopolis::bench {
namespace {

// What the handler does with an event: longer than any send takes, so that the consumer is what all wait for.
constexpr uint64_t kWorkNs = 1000;
constexpr uint64_t kProbeGapNs = 100'000;
constexpr uint32_t kSweepsPerLook = 64;
constexpr uint32_t kMostWatched = 64, kLeastProbes = 16;

enum class Probe { kNone, kSame, kUrgent };

// Per channel: how often it was sent to and served, modulo 256; at most one event is on its way.
struct Turns {
  explicit Turns(uint32_t channels) : sent(channels + 1), served(channels + 1) {}
  bool may_send(Channel channel) const { return served[channel].load(std::memory_order_acquire) == sent[channel]; }
  std::vector<uint8_t> sent;                 // the sender's
  std::vector<std::atomic<uint8_t>> served;  // written by the consumer
};

class Saturation {
 public:
  Saturation(Transport& transport, const Setting& setting, Probe probe)
      : transport_(transport),
        channels_(setting.channels),
        probe_(probe == Probe::kNone ? 0 : setting.channels),
        watched_(std::clamp(setting.channels / 20, 1u, kMostWatched)),
        turns_(setting.channels),
        sent_at_ns_(setting.channels + 1) {}

  // The sender's thread: sends on every channel as soon as its last event has been served, and on the probe now and
  // then.
  void send_until_stopped(int cpu) {
    pin_to(cpu, "sender");
    uint64_t count = 0, next_probe = 0;
    const auto send = [&](Channel channel, bool timed) {
      if (!turns_.may_send(channel)) return false;
      ++turns_.sent[channel];
      if (timed) sent_at_ns_[channel].store(now_ns(), std::memory_order_relaxed);
      transport_.send(channel);
      ++count;
      return true;
    };
    const Channel last = probe_ == 0 ? channels_ : channels_ - 1;
    while (!stop_.value.load(std::memory_order_relaxed)) {
      for (Channel channel = 1; channel <= last; ++channel) {
        send(channel, probe_ == 0 && is_watched(channel));
        if (probe_ == 0 || channel % kSweepsPerLook != 0) continue;
        if (now_ns() >= next_probe && send(probe_, true)) next_probe = now_ns() + kProbeGapNs;
      }
      if (probe_ != 0 && last < kSweepsPerLook && now_ns() >= next_probe && send(probe_, true)) {
        next_probe = now_ns() + kProbeGapNs;
      }
    }
    sent_.value.store(count);
  }

  void serve(Channel channel) {
    const bool timed = channel == probe_ || (probe_ == 0 && is_watched(channel));
    const auto turn = static_cast<uint8_t>(turns_.served[channel].load(std::memory_order_relaxed) + 1);
    if (timed && full_ && working_) {
      const uint64_t latency_ns = now_ns() - sent_at_ns_[channel].load(std::memory_order_relaxed);
      (channel <= watched_ ? first_ns_ : last_ns_).push_back(latency_ns);
    }
    ++served_;
    // Everything has been pending once, and is pending again: from here on every event meets a full queue.
    full_ = full_ || served_ > uint64_t{2} * channels_;
    if (working_) spin_for_ns(kWorkNs);
    turns_.served[channel].store(turn, std::memory_order_release);
  }

  uint64_t served() const { return served_; }
  bool enough() const {
    if (probe_ != 0) return last_ns_.size() >= kLeastProbes;
    return first_ns_.size() >= watched_ && last_ns_.size() >= watched_;
  }
  void stop() {
    working_ = false;
    stop_.value.store(true);
  }
  uint64_t sent() const { return sent_.value.load(); }
  const std::vector<uint64_t>& first_ns() const { return first_ns_; }
  const std::vector<uint64_t>& last_ns() const { return last_ns_; }

 private:
  bool is_watched(Channel channel) const { return channel <= watched_ || channel > channels_ - watched_; }

  Transport& transport_;
  const uint32_t channels_;
  const Channel probe_;  // the last channel, or 0
  const uint32_t watched_;
  Turns turns_;
  std::vector<std::atomic<uint64_t>> sent_at_ns_;
  OwnLine<std::atomic<bool>> stop_;
  OwnLine<std::atomic<uint64_t>> sent_;
  // The consumer's:
  alignas(128) uint64_t served_ = 0;
  bool full_ = false, working_ = true;
  std::vector<uint64_t> first_ns_, last_ns_;
};

}  // namespace

// From before the send to the handler's begin, when the consumer has more to do than it can: for the ports of the
// lowest against those of the highest numbers, or for one port among the others.
Figures measure_saturation(Transport& transport, const Setting& setting) {
  const auto probe_name = setting.parameters.at("probe").get<std::string>();
  const Probe probe = probe_name == "urgent" ? Probe::kUrgent : probe_name == "same" ? Probe::kSame : Probe::kNone;
  if (probe == Probe::kUrgent && !transport.make_urgent(setting.channels)) return Figures::object();
  Saturation saturation(transport, setting, probe);
  std::thread sender([&] { saturation.send_until_stopped(setting.cpus.sender); });
  const Transport::Handler handler = [&](Channel channel) { saturation.serve(channel); };
  const uint64_t end = now_ns() + static_cast<uint64_t>(setting.seconds * 1e9);
  while (now_ns() < end || !saturation.enough()) {
    if (transport.wait(100)) transport.serve(handler);
  }
  saturation.stop();
  sender.join();
  if (saturation.served() < saturation.sent()) {
    serve_rest(transport, handler, saturation.sent() - saturation.served());
  }
  if (saturation.served() != saturation.sent()) {
    give_up("{} events were sent, {} served", saturation.sent(), saturation.served());
  }
  if (probe == Probe::kUrgent) transport.make_ordinary(setting.channels);
  if (probe != Probe::kNone) return {{fmt::format("inversion_{}_priority_ns", probe_name), saturation.last_ns()}};
  return {{"saturated_first_ports_ns", saturation.first_ns()}, {"saturated_last_ports_ns", saturation.last_ns()}};
}

}  // namespace xenopolis::bench
