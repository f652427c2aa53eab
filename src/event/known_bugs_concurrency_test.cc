// The known bugs that are races between threads. Every loop is bounded by a count. Meant for ThreadSanitizer too.
#include <functional>
#include <random>
#include <thread>

#include "event/known_bugs_test.h"

namespace xenopolis::event {
namespace {

using testing::ElementsAre;

// What a thread that knows nothing of the others gets for an answer.
template <class Result>
void may_fail(const Result&) {}

uint32_t below(std::mt19937& random, uint32_t limit) {
  return static_cast<uint32_t>(random() % limit);
}

// A token is put down before an event is sent; whoever takes the event picks up all tokens of the port afterwards. One
// that is left belongs to a lost event.
class Tokens {
 public:
  explicit Tokens(uint32_t ports) : waiting_(ports) {}
  void put(Port port) { waiting_[port].fetch_add(1); }
  void pick(const std::vector<Port>& ports) {
    for (const Port port : ports) waiting_[port].store(0);
  }
  uint64_t left() const {
    uint64_t sum = 0;
    for (const auto& count : waiting_) sum += count.load();
    return sum;
  }

 private:
  std::vector<std::atomic<uint32_t>> waiting_;
};

// Lets another thread go on at some of the fault points, so that races happen on one core, too.
class YieldAtFaultPoints {
 public:
  YieldAtFaultPoints() {
    fault_hook.store([](const char*) {
      thread_local uint32_t passes = 0;
      if (++passes % 7 == 0) std::this_thread::yield();
    });
  }
  ~YieldAtFaultPoints() { fault_hook.store(nullptr); }
  YieldAtFaultPoints(const YieldAtFaultPoints&) = delete;
  YieldAtFaultPoints& operator=(const YieldAtFaultPoints&) = delete;
};

class KnownRace : public testing::TestWithParam<Abi> {
 protected:
  KnownRace() : channels_(world_.channels) {
    world_.add_guest(1, Abi::kFifo);
    world_.add_guest(3, Abi::kFifo);
  }

  // Changes domain 2 to the ABI; fails where another thread has been quicker, as a guest's vCPU would see it.
  void switch_abi() {
    if (GetParam() == Abi::kThreeLevel) {
      Gfn pending[kBitmapFrames], mask[kBitmapFrames];
      for (uint32_t index = 0; index < kBitmapFrames; ++index) {
        pending[index] = kFirstBitmapGfn + index;
        mask[index] = kFirstBitmapGfn + kBitmapFrames + index;
      }
      may_fail(channels_.register_bitmaps(2, pending, mask));
      for (VcpuId vcpu = 0; vcpu < 2; ++vcpu) may_fail(channels_.register_selector(2, vcpu, kControlGfn, vcpu * 512));
    } else if (GetParam() == Abi::kFifo) {
      uint8_t link_bits = 0;
      for (VcpuId vcpu = 0; vcpu < 2; ++vcpu) {
        may_fail(channels_.init_control(2, vcpu, kControlGfn, vcpu * 128, link_bits));
      }
      may_fail(channels_.expand_array(2, kFirstArrayGfn));
    }
  }

  World world_;
  EventChannels& channels_;
  YieldAtFaultPoints yield_;
};

// XSA-343 and XSA-505: reset against sending, binding, closing, polling, virtual interrupts, the change of ABI, the
// growth of the event array, and Dom0 that looks.
TEST_P(KnownRace, AResetLeavesTheDomainWholeWhateverElseGoesOn) {
  constexpr int kResets = 60 * kScale;
  world_.add_guest(2, GetParam(), {.vcpus = 2});
  constexpr machine::DoorbellId kBell = 7;
  channels_.set_doorbell(2, 0, kBell, 0);
  constexpr uint32_t kOffers = 64;
  std::array<std::atomic<Port>, kOffers> offered{};
  // Each other thread does a few turns for each reset: nobody keeps the domain's lock from the others for long.
  constexpr int kTurns = 12;
  std::atomic<int> resets{0};
  std::vector<std::jthread> threads;
  const auto meanwhile = [&](unsigned seed, const std::function<void(std::mt19937&)>& turn) {
    threads.emplace_back([&resets, seed, turn](const std::stop_token& stop) {
      std::mt19937 random(seed);
      for (int turns = 0; !stop.stop_requested();) {
        if (turns < resets.load() * kTurns) {
          turn(random);
          ++turns;
        } else {
          std::this_thread::yield();
        }
      }
    });
  };
  // Domains 1 and 3 bind what domain 2 offers, send, and close.
  for (const DomId peer : {DomId{1}, DomId{3}}) {
    meanwhile(peer, [&, peer](std::mt19937& random) {
      if (const auto port = channels_.bind_interdomain(peer, 2, offered[below(random, kOffers)].load())) {
        for (int i = 0; i < 3; ++i) EXPECT_TRUE(channels_.send(peer, *port));
        EXPECT_TRUE(channels_.close(peer, *port));
      }
    });
  }
  // A vCPU of domain 2 that knows nothing of the resets.
  meanwhile(20, [&](std::mt19937& random) {
    const Port port = below(random, 80);
    may_fail(channels_.send(2, port));
    may_fail(channels_.unmask(2, port));
    may_fail(channels_.bind_vcpu(2, port, below(random, 2)));
    may_fail(channels_.set_priority(2, port, below(random, 16)));
    const Port polled[] = {port, port + 1};
    may_fail(channels_.begin_poll(2, 1, polled, 2));
    channels_.end_poll(2, 1);
    if (below(random, 8) == 0) may_fail(channels_.close(2, port));
  });
  // And one that sets the ABI up again and again.
  meanwhile(21, [&](std::mt19937&) { switch_abi(); });
  // The hypervisor, and Dom0.
  meanwhile(22, [&](std::mt19937& random) {
    channels_.raise_virq(2, 1, VIRQ_TIMER);
    may_fail(channels_.status(kDom0, 2, below(random, 80)));
  });
  std::mt19937 random(23);
  for (int i = 0; i < kResets; ++i) {
    for (auto& port : offered) {
      if (const auto opened = channels_.alloc_unbound(2, 2, below(random, 2) == 0 ? 1 : 3)) port.store(*opened);
    }
    may_fail(channels_.bind_virq(2, VIRQ_TIMER, 1));
    resets.store(i + 1);
    may_fail(channels_.reset(2, 2));  // -EAGAIN: ports were opened behind it
  }
  threads.clear();  // stops and joins them

  ASSERT_TRUE(channels_.reset(2, 2));
  EXPECT_EQ(channels_.counters(2).open_ports, 0u);
  EXPECT_EQ(channels_.abi(2), Abi::kTwoLevel);
  const Port theirs = channels_.alloc_unbound(2, 2, 1).value();
  EXPECT_EQ(theirs, 1u);
  const Port ours = channels_.bind_interdomain(1, 2, theirs).value();
  GuestSide(channels_, 2).take();
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_THAT(GuestSide(channels_, 2).take(), ElementsAre(theirs));
}

// XSA-340: a port number is valid when its bucket is there. One thread opens ports, others try the newest number and
// the next ones.
TEST_P(KnownRace, APortThatIsValidHasItsPlaceInTheTable) {
  world_.add_guest(2, GetParam(), {.vcpus = 2});
  const Port last = std::min(ports_of(GetParam()) - 1, Port{60} * kPortsPerBucket);
  std::atomic<Port> newest{0};
  const auto look = [&](const std::stop_token& stop, VcpuId vcpu) {
    while (!stop.stop_requested()) {
      const Port begin = newest.load();
      for (Port port = begin; port < begin + 3; ++port) {
        may_fail(channels_.send(2, port));
        may_fail(channels_.status(kDom0, 2, port));
        may_fail(channels_.begin_poll(2, vcpu, &port, 1));
      }
    }
    channels_.end_poll(2, vcpu);
  };
  const std::jthread first(look, 0), second(look, 1);
  for (Port port = 1; port <= last; ++port) {
    ASSERT_EQ(channels_.bind_ipi(2, 0).value(), port);
    newest.store(port);
  }
}

// "evtchn/fifo: lost event (too many queue changes)", and the PENDING bit that was set all the same: a port that
// changes its vCPU as fast as it can.
TEST_P(KnownRace, AnEventIsPendingWhenItsSenderReturnsHoweverOftenThePortMoves) {
  constexpr int kEvents = 800 * kScale;
  world_.add_guest(2, GetParam(), {.vcpus = kMaxVcpus});
  const auto [ours, theirs] = world_.connect(1, 2);
  // Bursts of moves, each time the sender sends.
  std::atomic<int> sent{0};
  const auto move = [&, theirs = theirs](const std::stop_token& stop, VcpuId step) {
    for (int bursts = 0; !stop.stop_requested(); ++bursts) {
      while (bursts > sent.load() && !stop.stop_requested()) std::this_thread::yield();
      for (VcpuId vcpu = step; vcpu != 0; vcpu = (vcpu + step) % kMaxVcpus) {
        EXPECT_TRUE(channels_.bind_vcpu(2, theirs, vcpu));
        may_fail(channels_.set_priority(2, theirs, vcpu));
      }
    }
  };
  const std::jthread first(move, 3), second(move, 5);
  std::vector<GuestSide> sides;
  for (VcpuId vcpu = 0; vcpu < kMaxVcpus; ++vcpu) sides.emplace_back(channels_, 2, vcpu);
  for (int i = 0; i < kEvents; ++i) {
    sent.store(i);
    ASSERT_TRUE(channels_.send(1, ours));
    ASSERT_TRUE(channels_.status(2, 2, theirs)->pending) << i;
    std::vector<Port> taken;
    for (GuestSide& side : sides) {
      for (const Port port : side.take()) taken.push_back(port);
    }
    ASSERT_THAT(taken, ElementsAre(theirs)) << i;
  }
}

// "xen/events: access last_priority and last_vcpu_id together", "xen/events: rework fifo queue locking": ports change
// vCPU, priority and mask while two senders send to each, and each vCPU is served by a thread of its own. A queue that
// names a port of another one loses what is behind it.
TEST_P(KnownRace, NoEventIsLostWhenPortsChangeQueuesUnderTwoSenders) {
  constexpr int kEvents = 1500 * kScale;
  constexpr int kChannels = 12;
  world_.add_guest(2, GetParam(), {.vcpus = 2});
  std::vector<std::pair<Port, Port>> ports;
  for (int i = 0; i < kChannels; ++i) ports.push_back(world_.connect(1, 2));
  Tokens tokens(256);
  std::atomic<int> senders_left{2}, movers_left{1};
  std::vector<std::jthread> threads;
  for (VcpuId vcpu = 0; vcpu < 2; ++vcpu) {
    threads.emplace_back([&, vcpu] {
      GuestSide side(channels_, 2, vcpu);
      for (bool last = false; !last;) {
        last = movers_left.load() == 0;
        const std::vector<Port> taken = side.take();
        tokens.pick(taken);
        if (taken.empty()) {
          std::this_thread::yield();
        } else {
          last = false;
        }
      }
    });
  }
  threads.emplace_back([&] {
    std::mt19937 random(5);
    GuestSide side(channels_, 2);
    for (int i = 0; i < kEvents && senders_left.load() != 0; ++i) {
      const Port port = ports[below(random, kChannels)].second;
      EXPECT_TRUE(channels_.bind_vcpu(2, port, below(random, 2)));
      may_fail(channels_.set_priority(2, port, below(random, 3)));
      side.set_mask(port, true);
      EXPECT_TRUE(channels_.unmask(2, port));
    }
    // One event more to each port: what it finds pending it announces.
    for (const auto& [ours, theirs] : ports) {
      tokens.put(theirs);
      EXPECT_TRUE(channels_.send(1, ours));
    }
    movers_left.store(0);
  });
  for (unsigned seed = 1; seed <= 2; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < kEvents; ++i) {
        const auto& [ours, theirs] = ports[below(random, kChannels)];
        tokens.put(theirs);
        EXPECT_TRUE(channels_.send(1, ours));
      }
      --senders_left;
    });
  }
  threads.clear();
  for (VcpuId vcpu = 0; vcpu < 2; ++vcpu) tokens.pick(GuestSide(channels_, 2, vcpu).take());
  EXPECT_EQ(tokens.left(), 0u);
  for (const auto& [ours, theirs] : ports) {
    EXPECT_FALSE(channels_.status(2, 2, theirs)->pending);
    if (GetParam() == Abi::kFifo) {
      EXPECT_EQ(GuestSide(channels_, 2).word_of(theirs).load(), 0u) << theirs << " is left in a queue";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Abis, KnownRace, kEveryAbi, name_of_abi);

class KnownFifoRace : public testing::Test {
 protected:
  KnownFifoRace() : channels_(world_.channels) { world_.add_guest(1, Abi::kFifo); }

  World world_;
  EventChannels& channels_;
  YieldAtFaultPoints yield_;
};

// XSA-359, and the events that come while a page of the array is missing: senders to one port in each page, while the
// array grows from none to all of its 128.
TEST_F(KnownFifoRace, NoEventIsLostWhileTheEventArrayGrows) {
  world_.add_guest(2, Abi::kFifo, {}, 0);
  std::vector<std::pair<Port, Port>> ports;
  for (uint32_t page = 0; page < kMaxArrayPages; ++page) {
    const Port port = (page + 1) * kEventWordsPerPage - 1;  // the last that expand_array looks at
    open_ports_up_to(channels_, 2, port - 1);
    ports.push_back(world_.connect(1, 2));
    ASSERT_EQ(ports.back().second, port);
  }
  Tokens tokens(kFifoPorts);
  std::atomic<uint32_t> pages{0};
  std::vector<std::jthread> threads;
  for (unsigned seed = 1; seed <= 2; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      while (pages.load() < kMaxArrayPages) {
        // Around the page that is being added.
        const auto& [ours, theirs] = ports[std::min<size_t>(pages.load() + below(random, 2), kMaxArrayPages - 1)];
        tokens.put(theirs);
        EXPECT_TRUE(channels_.send(1, ours));
      }
    });
  }
  GuestSide guest(channels_, 2);
  for (uint32_t page = 0; page < kMaxArrayPages; ++page) {
    EXPECT_TRUE(channels_.expand_array(2, kFirstArrayGfn + page));
    pages.store(page + 1);
    tokens.pick(guest.take());
  }
  threads.clear();
  tokens.pick(guest.take());
  EXPECT_EQ(tokens.left(), 0u);
}

// XSA-358 and XSA-107: a control block that appears while events go to its vCPU.
TEST_F(KnownFifoRace, EventsFindTheControlBlockWholeOrNotAtAll) {
  constexpr int kRounds = 40 * kScale;
  world_.add_guest(2, Abi::kFifo, {.vcpus = 2});
  std::atomic<Port> target{0};
  const std::jthread sender([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const Port port = target.load();
      if (port != 0) may_fail(channels_.send(1, port));
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(channels_.reset(2, 2));
    std::fill_n(machine::memory_of(2).ram_page(kFirstArrayGfn), kPageSize, uint8_t{0});
    std::fill_n(machine::memory_of(2).ram_page(kControlGfn), kPageSize, uint8_t{0});
    uint8_t link_bits = 0;
    ASSERT_TRUE(channels_.init_control(2, 0, kControlGfn, 0, link_bits));
    ASSERT_TRUE(channels_.expand_array(2, kFirstArrayGfn));
    const auto [ours, theirs] = world_.connect(1, 2);
    ASSERT_TRUE(channels_.bind_vcpu(2, theirs, 1));
    target.store(ours);
    for (int i = 0; i < round % 20; ++i) ASSERT_TRUE(channels_.status(2, 2, theirs));
    ASSERT_TRUE(channels_.init_control(2, 1, kControlGfn, 128, link_bits));
    ASSERT_TRUE(channels_.send(1, ours));
    GuestSide side(channels_, 2, 1);
    EXPECT_THAT(side.take(), testing::Each(theirs));
    EXPECT_FALSE(channels_.status(2, 2, theirs)->masked);
    target.store(0);
    EXPECT_TRUE(channels_.close(1, ours));
  }
}

}  // namespace
}  // namespace xenopolis::event
