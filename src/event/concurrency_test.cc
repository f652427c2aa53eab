// Many senders, moving receivers: every event that was sent is followed by a look at its port. Meant for
// ThreadSanitizer too.
#include <gtest/gtest.h>

#include <mutex>
#include <random>
#include <thread>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kScale = 1;
#else
constexpr int kScale = 5;
#endif

// A token is put down before the event is sent, and the receiver picks up all tokens of a port after it has taken the
// port's event. A token that is left at the end belongs to a lost event.
struct Tokens {
  std::array<std::atomic<int>, 8192> waiting{};
  std::atomic<uint64_t> picked{0};

  void put(Port port) { waiting[port].fetch_add(1); }
  void pick(Port port) { picked += static_cast<uint64_t>(waiting[port].exchange(0)); }
  uint64_t left() const {
    uint64_t sum = 0;
    for (const auto& count : waiting) sum += static_cast<uint64_t>(count.load());
    return sum;
  }
};

class Concurrency : public testing::TestWithParam<Abi> {
 protected:
  static constexpr DomId kSenders = 3;
  static constexpr int kChannels = 40;  // of each sender

  Concurrency() : channels_(world_.channels) {
    EXPECT_TRUE(create_dom0(channels_, GetParam()));
    for (DomId domid = 1; domid <= kSenders; ++domid) world_.add_guest(domid, GetParam());
  }

  using Ports = std::array<std::vector<std::pair<Port, Port>>, kSenders + 1>;  // of each sender: Dom0's port, its own

  Ports bind_to(std::vector<Consumer>& consumers) {
    Ports ports;
    for (DomId domid = 1; domid <= kSenders; ++domid) {
      for (size_t i = 0; i < kChannels; ++i) {
        const Port offered = channels_.alloc_unbound(domid, domid, kDom0).value();
        ports[domid].emplace_back(consumers[i % consumers.size()].bind_interdomain(domid, offered).value(), offered);
      }
    }
    return ports;
  }
  void send_at_random(DomId domid, const Ports& ports, int events) {
    std::mt19937 random(domid);
    for (int i = 0; i < events; ++i) {
      const auto& [port, own] = ports[domid][random() % kChannels];
      tokens_.put(port);
      EXPECT_TRUE(channels_.send(domid, own));
    }
  }

  World world_;
  EventChannels& channels_;
  Tokens tokens_;
};

TEST_P(Concurrency, NoEventIsLostBetweenSendersAndConsumers) {
  constexpr VcpuId kConsumers = 2;
  constexpr int kEvents = 4000 * kScale;
  std::vector<Consumer> consumers;
  for (VcpuId vcpu = 0; vcpu < kConsumers; ++vcpu) consumers.push_back(Consumer::attach(channels_, vcpu).value());
  const Ports ports = bind_to(consumers);
  std::atomic<int> senders_left{kSenders};
  std::vector<std::thread> threads;
  for (Consumer& consumer : consumers) {
    threads.emplace_back([&] {
      uint32_t drains = 0;
      // The end: nobody sends any more, and a whole look after that found nothing.
      for (bool last = false; !last;) {
        last = senders_left.load() == 0;
        while (consumer.drain([&](Port port) { tokens_.pick(port); }, 1 + drains++ % 50) != 0) last = false;
      }
    });
  }
  for (DomId domid = 1; domid <= kSenders; ++domid) {
    threads.emplace_back([&, domid] {
      send_at_random(domid, ports, kEvents);
      --senders_left;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tokens_.left(), 0u);
  EXPECT_EQ(tokens_.picked.load(), uint64_t{kSenders} * kEvents);
}

// Ports wander between the consumers of Dom0 while events come, and are masked and unmasked.
TEST_P(Concurrency, NoEventIsLostWhileDom0sVcpusTakePortsOver) {
  constexpr VcpuId kConsumers = 3;
  constexpr int kEvents = 2000 * kScale;
  std::vector<Consumer> consumers;
  for (VcpuId vcpu = 0; vcpu < kConsumers; ++vcpu) consumers.push_back(Consumer::attach(channels_, vcpu).value());
  const Ports ports = bind_to(consumers);
  std::atomic<int> senders_left{kSenders};
  std::mutex moving;  // one move of a port at a time
  std::vector<std::thread> threads;
  for (VcpuId vcpu = 0; vcpu < kConsumers; ++vcpu) {
    threads.emplace_back([&, vcpu] {
      Consumer& consumer = consumers[vcpu];
      std::mt19937 random(vcpu);
      for (bool last = false; !last;) {
        last = senders_left.load() == 0;
        if (!last) {
          const std::lock_guard guard(moving);
          const Port port = ports[1 + random() % kSenders][random() % kChannels].first;
          if (random() % 4 == 0) {
            consumer.mask(port);
            EXPECT_TRUE(consumer.unmask(port));
          } else {
            EXPECT_TRUE(consumer.take_over(port));
          }
        }
        while (consumer.drain([&](Port port) { tokens_.pick(port); }, static_cast<uint32_t>(1 + random() % 30)) != 0)
          last = false;
      }
    });
  }
  for (DomId domid = 1; domid <= kSenders; ++domid) {
    threads.emplace_back([&, domid] {
      send_at_random(domid, ports, kEvents);
      --senders_left;
    });
  }
  for (std::thread& thread : threads) thread.join();
  // A port may have been taken over by a consumer that had seen its end by then.
  for (Consumer& consumer : consumers) {
    while (consumer.drain([&](Port port) { tokens_.pick(port); }) != 0) {
    }
  }
  EXPECT_EQ(tokens_.left(), 0u);
  EXPECT_EQ(tokens_.picked.load(), uint64_t{kSenders} * kEvents);
}

// Dom0 as the guest of the plain test driver: ports change vCPU, priority and mask while events come.
TEST_P(Concurrency, NoEventIsLostWhilePortsMove) {
  constexpr int kEvents = 3000 * kScale;
  constexpr DomId kReceiver = 9;
  world_.add_guest(kReceiver, GetParam(), {.vcpus = 2});
  std::array<std::vector<std::pair<Port, Port>>, kSenders + 1> ports;
  for (DomId domid = 1; domid <= kSenders; ++domid) {
    for (int i = 0; i < kChannels; ++i) ports[domid].push_back(world_.connect(kReceiver, domid));
  }
  std::atomic<int> senders_left{kSenders};
  std::atomic<bool> mover_done{false};
  std::vector<std::thread> threads;
  // One receiver looks at both vCPUs: which of them a port is queued on is what changes.
  threads.emplace_back([&] {
    GuestSide sides[] = {{channels_, kReceiver, 0}, {channels_, kReceiver, 1}};
    for (bool last = false; !last;) {
      last = mover_done.load();
      for (GuestSide& side : sides) {
        for (const Port port : side.take()) {
          tokens_.pick(port);
          last = false;
        }
      }
    }
  });
  threads.emplace_back([&] {
    GuestSide side(channels_, kReceiver);
    std::mt19937 random(77);
    while (senders_left.load() != 0) {
      const Port port = ports[1 + random() % kSenders][random() % kChannels].first;
      switch (random() % 3) {
        case 0:
          EXPECT_TRUE(channels_.bind_vcpu(kReceiver, port, static_cast<VcpuId>(random() % 2)));
          break;
        case 1:
          side.set_mask(port, true);
          EXPECT_TRUE(channels_.unmask(kReceiver, port));
          break;
        default:
          if (GetParam() == Abi::kFifo) {
            EXPECT_TRUE(channels_.set_priority(kReceiver, port, static_cast<uint32_t>(random() % 16)));
          }
      }
    }
    mover_done.store(true);
  });
  for (DomId domid = 1; domid <= kSenders; ++domid) {
    threads.emplace_back([&, domid] {
      send_at_random(domid, ports, kEvents);
      --senders_left;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(tokens_.left(), 0u);
}

TEST_P(Concurrency, BindingClosingAndDestroyingFromBothEndsAtOnceStaysWhole) {
  constexpr int kRounds = 4000 * kScale;
  std::atomic<int> left{2};
  std::atomic<Port> offered[2] = {0, 0};
  const auto party = [&](DomId self, DomId other, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<Port> own;
    GuestSide side(channels_, self);
    for (int i = 0; i < kRounds; ++i) {
      switch (random() % 5) {
        case 0:
          if (const auto port = channels_.alloc_unbound(self, self, other)) {
            own.push_back(*port);
            offered[self - 1].store(*port);
          }
          break;
        case 1:
          if (const auto port = channels_.bind_interdomain(self, other, offered[other - 1].load()))
            own.push_back(*port);
          break;
        case 2:
          if (!own.empty()) {
            EXPECT_TRUE(channels_.close(self, own.front()));
            own.erase(own.begin());
          }
          break;
        case 3:
          for (const Port port : own) EXPECT_TRUE(channels_.send(self, port));
          break;
        default:
          side.take();
      }
    }
    --left;
  };
  std::thread a(party, DomId{1}, DomId{2}, 1);
  std::thread b(party, DomId{2}, DomId{1}, 2);
  // Meanwhile a third domain that both could meet comes and goes.
  for (int i = 0; left.load() != 0; ++i) {
    std::vector<std::pair<Port, Port>> ports;
    for (int channel = 0; channel < 150; ++channel) {
      const Port theirs = channels_.alloc_unbound(3, 3, kDom0).value();
      ports.emplace_back(channels_.bind_interdomain(kDom0, 3, theirs).value(), theirs);
    }
    std::thread sender([&] {
      for (const auto& [ours, theirs] : ports) EXPECT_TRUE(channels_.send(kDom0, ours));
    });
    channels_.destroy_domain(3);
    sender.join();
    for (const auto& [ours, theirs] : ports) EXPECT_TRUE(channels_.close(kDom0, ours));
    world_.add_guest(3, GetParam());
    GuestSide(channels_, kDom0).take();
  }
  a.join();
  b.join();
  for (const DomId domid : {DomId{1}, DomId{2}}) {
    for (Port port = 1; const auto status = channels_.status(domid, domid, port); ++port) {
      if (status->status != EVTCHNSTAT_interdomain) continue;
      const PortStatus back = channels_.status(kDom0, status->remote_domid, status->remote_port).value();
      EXPECT_EQ(back.remote_domid, domid);
      EXPECT_EQ(back.remote_port, port);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Abis, Concurrency, kEveryAbi, name_of_abi);

}  // namespace
}  // namespace xenopolis::event
