#include "probe.h"

#include <poll.h>

#include <random>
#include <string>

#include "common/basics.h"
#include "pattern.h"
#include "ring_writer.h"

namespace xenopolis::bench {
namespace {

// Of silence between two probes: long enough for a sleeper to fall asleep, and each probed console writes less often
// than xenconsoled allows.
constexpr uint64_t kLeastGapNs = 1'000'000, kMostGapNs = 3'000'000;
constexpr size_t kBusyLine = 100;
// Of storming consoles between two looks at the reader.
constexpr uint32_t kStormBurst = 4;
constexpr uint64_t kLostAfterNs = 10'000'000'000;

// Guests and readers are one thread: three on two CPUs would measure the scheduler.
class Prober {
 public:
  Prober(ConsoleDaemon& daemon, const ProbeSetting& setting) : daemon_(daemon), setting_(setting) {
    for (uint32_t console = 0; console < kProbed; ++console) readers_.push_back(daemon.attach_reader(console));
  }

  std::vector<uint64_t> run() {
    const uint64_t end = now_ns() + static_cast<uint64_t>(setting_.seconds * 1e9);
    uint64_t now = now_ns();
    for (next_busy_ns_ = next_probe_ns_ = now; now < end || is_waiting_ || samples_.empty(); now = now_ns()) {
      if (now >= next_busy_ns_) talk(now);
      if (is_waiting_) {
        look(now);
      } else if (now >= next_probe_ns_) {
        probe();
      }
      if (setting_.storming != 0) {
        storm();
      } else {
        sleep();
      }
    }
    return std::move(samples_);
  }

 private:
  Reader& reader() { return *readers_[console_]; }

  void probe() {
    console_ = (console_ + 1) % kProbed;
    while (!reader().take().empty()) {
    }
    expected_ = fmt::format("probe {}\n", ++probes_);
    got_.clear();
    is_waiting_ = true;
    RingWriter ring(daemon_.ring(console_));
    require(ring.room() >= expected_.size(), "a probed console's ring has room");
    sent_ns_ = now_ns();
    ring.write(expected_);
    daemon_.notify(console_);
  }

  void look(uint64_t now) {
    got_ += reader().take();
    if (got_.find(expected_) == std::string::npos) {
      if (now - sent_ns_ > kLostAfterNs) give_up("a reader does not get what console {} has written", console_);
      return;
    }
    const uint64_t received_ns = now_ns();
    samples_.push_back(received_ns - sent_ns_);
    is_waiting_ = false;
    next_probe_ns_ = received_ns + kLeastGapNs + random_() % (kMostGapNs - kLeastGapNs);
  }

  // One of the busy ones, in turns.
  void talk(uint64_t now) {
    const uint32_t console = kProbed + talking_++ % kBusy;
    RingWriter ring(daemon_.ring(console));
    if (ring.room() >= kBusyLine) {
      ring.write(Pattern::at(console, 0, kBusyLine));
      daemon_.notify(console);
    }
    next_busy_ns_ = std::max(now, next_busy_ns_ + kBusyEveryNs / kBusy);
  }

  void storm() {
    for (uint32_t i = 0; i < kStormBurst; ++i) {
      const uint32_t console = kProbed + kBusy + storming_++ % setting_.storming;
      RingWriter ring(daemon_.ring(console));
      const uint32_t room = ring.room();
      if (room == 0) continue;
      ring.write(Pattern::at(console, 0, room));
      daemon_.notify(console);
    }
  }

  void sleep() {
    const uint64_t due = is_waiting_ ? next_busy_ns_ : std::min(next_busy_ns_, next_probe_ns_);
    const uint64_t now = now_ns();
    if (due <= now) return;
    const timespec timeout{static_cast<time_t>((due - now) / 1'000'000'000),
                           static_cast<long>((due - now) % 1'000'000'000)};
    pollfd readable{reader().fd(), POLLIN, 0};
    ppoll(&readable, is_waiting_ ? 1 : 0, &timeout, nullptr);
  }

  ConsoleDaemon& daemon_;
  const ProbeSetting setting_;
  std::vector<std::unique_ptr<Reader>> readers_;
  std::mt19937 random_;
  uint64_t next_busy_ns_ = 0, next_probe_ns_ = 0, sent_ns_ = 0;
  uint32_t console_ = 0, talking_ = 0, storming_ = 0;
  uint64_t probes_ = 0;
  bool is_waiting_ = false;
  std::string expected_, got_;
  std::vector<uint64_t> samples_;
};

}  // namespace

std::vector<uint64_t> probe_latency(ConsoleDaemon& daemon, const ProbeSetting& setting) {
  return Prober(daemon, setting).run();
}

}  // namespace xenopolis::bench
