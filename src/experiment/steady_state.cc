#include "experiment/steady_state.h"

#include <fmt/format.h>

#include <atomic>

#include "base/clock.h"
#include "domain/domain_record.h"
#include "experiment/progress.h"

namespace xenopolis::experiment {
namespace {

constexpr uint64_t kTickNs = 2'000'000;
constexpr double kMinPingsPerSecond = 500;
constexpr double kPingShare = 0.8;  // of the steady state, so that the last answers come in time
constexpr uint64_t kStragglersNs = 1'000'000'000;

uint64_t now_ns() {
  return MonotonicClock().now_ns();
}

struct Beats {
  DomId domid;
  uint64_t beats;
  uint64_t missed;
};

// Fields of a page that its guest writes all the time, see citizen_page.h.
uint64_t load(uint64_t& field) {
  return std::atomic_ref(field).load(std::memory_order_relaxed);
}

std::vector<Beats> read_beats(Fleet& fleet) {
  std::vector<Beats> all;
  for (const Subject& subject : fleet.subjects()) {
    if (subject.up_ns == 0 || subject.ended) continue;
    const Citizen* citizen = fleet.pinger()->citizen(subject.domid);
    if (citizen != nullptr) all.push_back({subject.domid, load(citizen->page->beats), load(citizen->page->missed)});
  }
  return all;
}

// Pings all devices of all citizens, one after the other, at an even rate.
class PingRound {
 public:
  PingRound(EventLoop& loop, Fleet& fleet, const Options& options) : loop_(loop), fleet_(fleet) {
    for (const Subject& subject : fleet.subjects()) {
      if (subject.up_ns != 0 && !subject.ended) domids_.push_back(subject.domid);
    }
    const auto channels = static_cast<double>(domids_.size() * kCitizenDeviceCount);
    per_second_ = std::max(kMinPingsPerSecond, channels / (options.seconds * kPingShare));
    start_ns_ = now_ns();
    end_ns_ = start_ns_ + static_cast<uint64_t>(options.seconds * kPingShare * 1e9);
    if (!domids_.empty()) tick();
  }
  ~PingRound() { loop_.cancel(timer_); }

 private:
  void tick() {
    const uint64_t now = now_ns();
    const auto due = static_cast<uint64_t>(static_cast<double>(now - start_ns_) / 1e9 * per_second_);
    for (; sent_ < due; ++sent_) {
      const uint64_t channel = sent_ % (domids_.size() * kCitizenDeviceCount);
      fleet_.pinger()->ping(domids_[channel / kCitizenDeviceCount],
                            static_cast<CitizenDevice>(channel % kCitizenDeviceCount));
    }
    if (now < end_ns_) timer_ = loop_.at(now + kTickNs, [this] { tick(); });
  }

  EventLoop& loop_;
  Fleet& fleet_;
  std::vector<DomId> domids_;
  double per_second_;
  uint64_t start_ns_;
  uint64_t end_ns_;
  uint64_t sent_ = 0;
  EventLoop::TimerId timer_ = 0;
};

uint64_t delivered_everywhere(event::EventChannels& events, const Fleet& fleet) {
  uint64_t delivered = events.counters(kDom0).events_delivered;
  for (const Subject& subject : fleet.subjects()) {
    if (subject.domid != 0 && !subject.ended) delivered += events.counters(subject.domid).events_delivered;
  }
  return delivered;
}

Status run_until(EventLoop& loop, uint64_t end_ns, const std::function<bool()>& done) {
  for (uint64_t now = now_ns(); now < end_ns && !done(); now = now_ns()) {
    TRY_VOID(loop.run_once(static_cast<int>(std::min<uint64_t>((end_ns - now) / 1'000'000 + 1, 100))));
  }
  return {};
}

}  // namespace

Status run_steady_state(EventLoop& loop, PrivateHost& host, Fleet& fleet, const Options& options,
                        const std::function<bool()>& interrupted, Results& results) {
  event::EventChannels events(host.machine());
  results.dom0_channels = events.counters(kDom0).open_ports;
  const auto length_ns = static_cast<uint64_t>(options.seconds * 1e9);
  Progress progress("steady state", length_ns / 1'000'000'000, options.quiet);
  const uint64_t start_ns = now_ns();
  const auto done = [&] {
    progress.update((now_ns() - start_ns) / 1'000'000'000);
    return interrupted();
  };
  if (fleet.pinger() == nullptr) {
    TRY_VOID(run_until(loop, start_ns + length_ns, done));
    results.steady_s = static_cast<double>(now_ns() - start_ns) / 1e9;
    return {};
  }

  const std::vector<Beats> before = read_beats(fleet);
  {
    const PingRound pings(loop, fleet, options);
    TRY_VOID(run_until(loop, start_ns + length_ns, done));
  }
  const uint64_t end_ns = now_ns();
  const uint64_t period_ns = options.beat_ms * 1'000'000ull;
  for (const Beats& then : before) {
    const Citizen* citizen = fleet.pinger()->citizen(then.domid);
    if (citizen == nullptr) continue;  // it crashed, which is told elsewhere
    const uint64_t beats = load(citizen->page->beats) - then.beats;
    const uint64_t told = load(citizen->page->missed) - then.missed;
    // A guest that does not run at all cannot tell. The interval's ends may cut off one beat.
    const uint64_t expected = (end_ns - start_ns) / period_ns;
    const uint64_t lacking = expected > beats + told + 1 ? expected - beats - told - 1 : 0;
    results.beats += beats;
    results.beats_missed += told + lacking;
  }
  TRY_VOID(run_until(loop, now_ns() + kStragglersNs,
                     [&] { return interrupted() || fleet.pinger()->pings_under_way() == 0; }));
  if (fleet.pinger()->pings_under_way() != 0) {
    results.problems.push_back(fmt::format("{} pings were never answered", fleet.pinger()->pings_under_way()));
  }
  results.steady_s = static_cast<double>(end_ns - start_ns) / 1e9;
  results.round_trips_us = fleet.pinger()->round_trips_us();
  results.events_delivered = delivered_everywhere(events, fleet);
  for (const Subject& subject : fleet.subjects()) {
    if (subject.domid != 0 && !subject.ended) results.hypercalls += domain::record_of(subject.domid).hypercalls.load();
  }
  return {};
}

}  // namespace xenopolis::experiment
