// What sending, and being woken, costs the one who does it. Sender and consumer take turns on one CPU, unless it is
// said otherwise, so nothing waits for the other's cache.
#include <algorithm>
#include <atomic>
#include <thread>

#include "measure.h"

namespace xenopolis::bench {
namespace {

constexpr uint32_t kMostAtOnce = 1000;

double since_ns(uint64_t begin, double clock_cost) {
  return std::max(0.0, static_cast<double>(now_ns() - begin) - clock_cost);
}

// Hands out channels in shuffled order, without end.
class Shuffle {
 public:
  explicit Shuffle(uint32_t channels) : order_(shuffled_channels(channels)) {}
  // `count` different ones, as long as count * 2 <= channels or count == channels.
  void next(std::vector<Channel>& out) {
    for (Channel& channel : out) {
      channel = order_[at_];
      at_ = at_ + 1 == order_.size() ? 0 : at_ + 1;
    }
  }

 private:
  std::vector<Channel> order_;
  size_t at_ = 0;
};

// A thread on the sender's CPU that sends on the given channels when it is told to.
class RemoteSender {
 public:
  RemoteSender(Transport& transport, int cpu, const std::vector<Channel>& channels) {
    thread_ = std::thread([this, &transport, cpu, &channels] {
      pin_to(cpu, "sender");
      for (uint32_t turn = 1;; ++turn) {
        uint32_t told = 0;
        while ((told = told_.value.load(std::memory_order_acquire)) < turn) _mm_pause();
        if (told == kEnd) return;
        for (const Channel channel : channels) transport.send(channel);
        done_.value.store(turn, std::memory_order_release);
      }
    });
  }
  ~RemoteSender() {
    told_.value.store(kEnd);
    thread_.join();
  }
  void send_all() {
    told_.value.store(++turn_, std::memory_order_release);
    while (done_.value.load(std::memory_order_acquire) != turn_) _mm_pause();
  }

 private:
  static constexpr uint32_t kEnd = ~0u;
  uint32_t turn_ = 0;
  OwnLine<std::atomic<uint32_t>> told_, done_;
  std::thread thread_;
};

}  // namespace

// The first of a batch of sends wakes the consumer, which does not come to run; the others find it woken. Then all are
// sent once more, which finds them pending. Channels are taken in shuffled order.
Figures measure_send(Transport& transport, const Setting& setting) {
  std::vector<Channel> batch(std::min(setting.channels, kMostAtOnce));
  Shuffle shuffle(setting.channels);
  const double clock_cost = clock_cost_ns();
  const auto others = static_cast<double>(batch.size() - 1);
  std::vector<double> first, next, again;
  const uint64_t end = now_ns() + static_cast<uint64_t>(setting.seconds * 1e9);
  for (uint32_t repetition = 0; repetition < 3 || now_ns() < end; ++repetition) {
    shuffle.next(batch);
    uint64_t begin = now_ns();
    transport.send(batch[0]);
    const double first_ns = since_ns(begin, clock_cost);
    begin = now_ns();
    for (size_t i = 1; i < batch.size(); ++i) transport.send(batch[i]);
    const double next_ns = since_ns(begin, clock_cost) / others;
    begin = now_ns();
    for (size_t i = 1; i < batch.size(); ++i) transport.send(batch[i]);
    const double again_ns = since_ns(begin, clock_cost) / others;
    serve_rest(
        transport, [](Channel) {}, batch.size());
    if (repetition == 0) continue;  // cold
    first.push_back(first_ns);
    next.push_back(next_ns);
    again.push_back(again_ns);
  }
  return {{"send_waking_ns", first}, {"send_ns", next}, {"send_pending_ns", again}};
}

// From the call of epoll_wait() on, which finds the consumer's descriptor readable, until everything has been served.
Figures measure_wakeup(Transport& transport, const Setting& setting) {
  const auto pending = setting.parameters.at("pending").get<uint32_t>();
  const bool scattered = setting.parameters.at("scattered").get<bool>();
  std::vector<Channel> batch(pending);
  Shuffle shuffle(setting.channels);
  for (uint32_t i = 0; i < pending; ++i) batch[i] = setting.channels - pending + 1 + i;
  uint64_t served = 0, sum = 0, expected_sum = 0;
  const Transport::Handler handler = [&](Channel channel) {
    ++served;
    sum += channel;
  };
  std::optional<RemoteSender> remote;
  if (setting.parameters.at("remote").get<bool>()) remote.emplace(transport, setting.cpus.sender, batch);
  const double clock_cost = clock_cost_ns();
  std::vector<double> wakeup, nothing, queue;
  const uint64_t end = now_ns() + static_cast<uint64_t>(setting.seconds * 1e9);
  for (uint32_t repetition = 0; repetition < 8 || now_ns() < end; ++repetition) {
    if (scattered) shuffle.next(batch);
    for (const Channel channel : batch) expected_sum += channel;
    served = 0;
    if (remote) {
      remote->send_all();
    } else {
      for (const Channel channel : batch) transport.send(channel);
    }
    uint64_t begin = now_ns();
    while (served < pending && transport.wait(0)) transport.serve(handler);
    const double wakeup_ns = since_ns(begin, clock_cost);
    if (served != pending || sum != expected_sum) give_up("{} events were pending, {} served", pending, served);
    double nothing_ns = 0;
    if (transport.ring_for_nothing()) {
      begin = now_ns();
      require(transport.wait(0) && transport.serve(handler) == 0, "a wakeup for nothing finds nothing");
      nothing_ns = since_ns(begin, clock_cost);
    }
    if (repetition < 4) continue;  // cold
    wakeup.push_back(wakeup_ns);
    if (nothing_ns == 0) continue;
    nothing.push_back(nothing_ns);
    queue.push_back(wakeup_ns - nothing_ns);
  }
  const std::string name =
      fmt::format("wakeup_{}_pending{}{}", pending, scattered ? "_scattered" : "", remote ? "_remote" : "");
  Figures figures = {{name + "_ns", wakeup}};
  if (nothing.empty()) return figures;
  figures["wakeup_for_nothing_ns"] = nothing;
  figures[name + "_without_eventfd_ns"] = queue;
  return figures;
}

}  // namespace xenopolis::bench
