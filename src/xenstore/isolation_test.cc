// 100 hostile guests among 3,000 on rings: what they cost the others, counted in turns and units of work (work.h), and
// how much memory they can hold. No clock.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <new>

#include "xenstore/testing/ring_guest.h"
#include "xenstore/work.h"

namespace {
size_t live_bytes = 0;
}

// Everything that is allocated is counted.
void* operator new(size_t bytes) {
  void* memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();
  live_bytes += malloc_usable_size(memory);
  return memory;
}
void operator delete(void* memory) noexcept {
  live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  operator delete(memory);
}

namespace xenopolis::xenstore {
namespace {

constexpr unsigned kGuests = 3000;
constexpr unsigned kHostile = 100;
constexpr DomId kFirstHostile = 1000;
// Of those that these guests make: a commit of 298 writes below what ten guests watch 128 times each.
constexpr uint64_t kDearestRequest = 298 * 10 * 128 * 4;

std::string chain_of(size_t levels) {
  std::string path;
  for (size_t i = 0; i < levels; ++i) path += "/a";
  return path;
}
std::string wire(uint32_t type, const std::string& payload, uint32_t transaction = 0) {
  return message_bytes(type, bars_to_nuls(payload), transaction);
}

// What a hostile guest does: once, honestly, to get what it is allowed to; then without end.
class Hostility {
 public:
  virtual ~Hostility() = default;
  virtual void prepare(RingGuest&) {}
  // The next bytes for the ring.
  virtual std::string next(unsigned step) = 0;
  virtual bool reads_replies() const { return true; }
  // What it hears.
  virtual void hear(const RingGuest::Heard&) {}
};

class Flood : public Hostility {
 public:
  std::string next(unsigned) override { return wire(XS_READ, "data|"); }
};

class NeverReads : public Hostility {
 public:
  void prepare(RingGuest& guest) override { guest.ask(XS_WRITE, "data/x|" + std::string(1900, 'v')); }
  std::string next(unsigned) override { return wire(XS_READ, "data/x|"); }
  bool reads_replies() const override { return false; }
};

class Malformed : public Hostility {
 public:
  std::string next(unsigned step) override {
    std::string bytes(16 + step % 40, static_cast<char>(step * 7));
    const Header header{step % 40, step, step % 3, static_cast<uint32_t>(step % 40)};
    std::memcpy(bytes.data(), &header, kHeaderBytes);
    return bytes;
  }
};

class Truncated : public Hostility {
 public:
  std::string next(unsigned step) override {
    const std::string request = wire(XS_WRITE, "data/x|" + std::string(500, 'v'));
    return std::string(1, request[step % request.size()]);
  }
};

class MakesAndRemovesDeepTrees : public Hostility {
 public:
  std::string next(unsigned step) override {
    return step % 2 == 0 ? wire(XS_MKDIR, "data" + chain_of(900) + "|") : wire(XS_RM, "data/a|");
  }
};

class FillsItsQuota : public Hostility {
 public:
  void prepare(RingGuest& guest) override {
    for (int i = 0; i < 1000; ++i) {
      if (guest.ask(XS_WRITE, name(i) + "|" + std::string(1900, 'v')) != "OK|") break;
    }
  }
  std::string next(unsigned step) override { return wire(XS_WRITE, name(step % 1000) + "|" + std::string(1900, 'w')); }

 private:
  static std::string name(unsigned i) { return "data/" + std::to_string(i / 30) + "/" + std::to_string(i); }
};

// All watch the same, and write there: each write is told to all of them.
class FiresWatches : public Hostility {
 public:
  explicit FiresWatches(DomId own) : place_("/shared/" + std::to_string(own)) {}
  void prepare(RingGuest& guest) override {
    for (int i = 0; i < 200; ++i) {
      if (guest.ask(XS_WATCH, "/shared|" + std::to_string(i) + "|") != "OK|") break;
    }
  }
  std::string next(unsigned) override { return wire(XS_WRITE, place_ + "|1"); }

 protected:
  // Below what all watch.
  const std::string place_;
};

class WatchesDeepPaths : public Hostility {
 public:
  std::string next(unsigned step) override {
    if (step % 64 == 63) return wire(XS_RESET_WATCHES, "|");
    return wire(XS_WATCH, "w" + chain_of(900) + "/" + std::to_string(step % 64) + "|t|");
  }
};

class HoldsTransactions : public Hostility {
 public:
  void prepare(RingGuest& guest) override {
    for (int t = 0; t < 10; ++t) {
      const std::string reply = guest.ask(XS_TRANSACTION_START, "|");
      if (!isdigit(static_cast<unsigned char>(reply[0]))) break;
      const auto id = static_cast<uint32_t>(std::stoul(reply));
      transactions_.push_back(id);
      for (int i = 0; i < 200; ++i) {
        const std::string path = "data/t" + std::to_string(i / 30) + "/" + std::to_string(i);
        if (guest.ask(XS_WRITE, path + "|" + std::string(1800, 'v'), id) != "OK|") break;
      }
      for (int i = 0; i < 1100; ++i) {
        const std::string path = "data/absent" + chain_of(200) + "/" + std::to_string(i);
        if (guest.ask(XS_READ, path + "|", id) != "ENOENT") break;
      }
    }
  }
  std::string next(unsigned step) override {
    return wire(XS_READ, "data/" + std::to_string(step) + "|", transactions_[step % transactions_.size()]);
  }

 private:
  std::vector<uint32_t> transactions_;
};

// Large transactions under a place that all of them watch.
class CommitsLargeTransactions : public FiresWatches {
 public:
  using FiresWatches::FiresWatches;
  std::string next(unsigned step) override {
    if (step % 300 == 0) return wire(XS_TRANSACTION_START, "|");
    if (step % 300 == 299) return wire(XS_TRANSACTION_END, "T|", transaction_);
    return wire(XS_WRITE, place_ + "-" + std::to_string(step % 300) + "|1", transaction_);
  }
  void hear(const RingGuest::Heard& heard) override {
    if (heard.header.type == XS_TRANSACTION_START) transaction_ = static_cast<uint32_t>(std::stoul(heard.payload));
  }

 private:
  uint32_t transaction_ = 1;
};

class ListsLargeDirectories : public Hostility {
 public:
  std::string next(unsigned step) override {
    return wire(XS_DIRECTORY_PART, "/list|" + std::to_string(step * 4000 % 40'000) + "|");
  }
};

class ChangesRights : public Hostility {
 public:
  void prepare(RingGuest& guest) override { guest.ask(XS_MKDIR, "data/x|"); }
  std::string next(unsigned step) override {
    return wire(XS_SET_PERMS, "data/x|n" + std::to_string(own_) + "|r1|b" + std::to_string(step % 3000) + "|");
  }
  explicit ChangesRights(DomId own) : own_(own) {}

 private:
  DomId own_;
};

constexpr unsigned kKinds = 12;
std::unique_ptr<Hostility> hostility_of(unsigned kind, DomId domid) {
  switch (kind) {
    case 0:
      return std::make_unique<Flood>();
    case 1:
      return std::make_unique<NeverReads>();
    case 2:
      return std::make_unique<Malformed>();
    case 3:
      return std::make_unique<Truncated>();
    case 4:
      return std::make_unique<MakesAndRemovesDeepTrees>();
    case 5:
      return std::make_unique<FillsItsQuota>();
    case 6:
      return std::make_unique<FiresWatches>(domid);
    case 7:
      return std::make_unique<WatchesDeepPaths>();
    case 8:
      return std::make_unique<HoldsTransactions>();
    case 9:
      return std::make_unique<CommitsLargeTransactions>(domid);
    case 10:
      return std::make_unique<ListsLargeDirectories>();
    default:
      return std::make_unique<ChangesRights>(domid);
  }
}

class HostileGuest {
 public:
  HostileGuest(RingGuest guest, std::unique_ptr<Hostility> hostility)
      : guest_(std::move(guest)), hostility_(std::move(hostility)) {}

  void prepare() { hostility_->prepare(guest_); }
  // Fills its ring as far as it goes.
  void press_on() {
    if (hostility_->reads_replies()) {
      for (const auto& heard : guest_.take()) hostility_->hear(heard);
    }
    if (guest_.page().error != XENSTORE_ERROR_NONE) {
      guest_.page().connection = XENSTORE_RECONNECT;
      rest_.clear();
    } else {
      for (unsigned i = 0; i < 100; ++i) {
        if (rest_.empty()) rest_ = hostility_->next(step_++);
        const size_t done = guest_.put(rest_);
        rest_.erase(0, done);
        if (!rest_.empty()) break;
      }
    }
    guest_.notify();
  }

 private:
  RingGuest guest_;
  std::unique_ptr<Hostility> hostility_;
  unsigned step_ = 0;
  std::string rest_;
};

class IsolationTest : public GuestsTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(dom0.ask(XS_MKDIR, "/shared|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_SET_PERMS, "/shared|b0|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_MKDIR, "/list|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_SET_PERMS, "/list|r0|"), "OK|");
    for (unsigned i = 0; i < kGuests; ++i)
      ASSERT_EQ(dom0.ask(XS_MKDIR, "/list/" + std::to_string(10'000 + i) + "|"), "OK|");
  }
  void introduce_others() {
    for (DomId domid = 1; domid <= kGuests; ++domid) {
      if (domid >= kFirstHostile && domid < kFirstHostile + kHostile) continue;
      others.push_back(guest(domid));
    }
  }
  // `kind`: all of one kind.
  void introduce_hostile(unsigned count, std::optional<unsigned> kind = std::nullopt) {
    for (unsigned i = 0; i < count; ++i) {
      const auto domid = static_cast<DomId>(kFirstHostile + i);
      hostile.emplace_back(guest(domid), hostility_of(kind.value_or(i % kKinds), domid));
      hostile.back().prepare();
    }
  }
  void press_on() {
    for (HostileGuest& each : hostile) each.press_on();
  }

  std::vector<RingGuest> others;
  std::deque<HostileGuest> hostile;
};

struct Cost {
  unsigned rounds = 0;
  uint64_t work = 0;
};

// From the moment when the request is in the ring and its event has arrived, in the middle of everything, to its reply.
Cost cost_of(RingGuest& innocent, const std::string& request, Server& server, const std::function<void()>& press_on) {
  innocent.put(request);
  innocent.notify();
  Cost cost;
  const uint64_t before = work_done;
  for (; cost.rounds < 100; ++cost.rounds) {
    for (const auto& heard : innocent.take()) {
      if (heard.header.type != XS_WATCH_EVENT) {
        cost.work = work_done - before;
        return cost;
      }
    }
    press_on();
    server.ready().run_once();
  }
  ADD_FAILURE() << "no reply";
  return cost;
}

TEST_F(IsolationTest, AnInnocentGuestWaitsForBoundedWork) {
  introduce_others();
  introduce_hostile(kHostile);
  for (int round = 0; round < 20; ++round) {
    press_on();
    server.ready().run_once();
  }
  Cost worst;
  uint64_t sum = 0;
  constexpr unsigned kSamples = 60;
  for (unsigned sample = 0; sample < kSamples; ++sample) {
    RingGuest& innocent = others[sample * 7 % others.size()];
    const std::string request = sample % 2 == 0 ? wire(XS_WRITE, "data/x|1") : wire(XS_READ, "data/x|");
    const Cost cost = cost_of(innocent, request, server, [&] { press_on(); });
    worst.rounds = std::max(worst.rounds, cost.rounds);
    worst.work = std::max(worst.work, cost.work);
    sum += cost.work;
  }
  RecordProperty("worst_units", static_cast<int>(worst.work));
  RecordProperty("mean_units", static_cast<int>(sum / kSamples));
  EXPECT_LE(worst.rounds, 2u);
  // Whatever single requests cost, in the long run nobody gets more than a turn's work out of a turn.
  EXPECT_LE(sum / kSamples, 2 * kHostile * kWorkPerTurn);
  EXPECT_LE(worst.work, 2 * kHostile * kWorkPerTurn + kHostile * kDearestRequest);
}

// What is dear is paid for by turns that are not taken.
TEST_F(IsolationTest, AGuestOfDearRequestsGetsNoMoreWorkOutOfARoundThanOneOfCheapRequests) {
  for (const unsigned kind : {0u, 4u, 6u, 7u, 9u}) {
    hostile.clear();
    introduce_hostile(10, kind);
    const uint64_t before = work_done;
    constexpr unsigned kRounds = 300;
    for (unsigned round = 0; round < kRounds; ++round) {
      press_on();
      server.ready().run_once();
    }
    const uint64_t spent = work_done - before;
    RecordProperty("units_of_kind_" + std::to_string(kind), static_cast<int>(spent / kRounds / 10));
    const uint64_t dearest = kind == 9 ? kDearestRequest : 8 * kWorkPerTurn;
    EXPECT_LE(spent, 10 * (kRounds * kWorkPerTurn + dearest)) << kind;
    hostile.clear();
    for (unsigned i = 0; i < 10; ++i) release(static_cast<DomId>(kFirstHostile + i));
  }
}

TEST_F(IsolationTest, AHostileGuestHoldsBoundedMemory) {
  constexpr unsigned kCount = 10;
  constexpr size_t kMemoryPerGuest = 8 * 1024 * 1024;
  size_t first = 0;
  for (unsigned kind = 0; kind < kKinds; ++kind) {
    const size_t before = live_bytes;
    if (kind == 1) first = before;  // what the first round makes once stays
    introduce_hostile(kCount, kind);
    for (int round = 0; round < 50; ++round) {
      press_on();
      server.ready().run_once();
      EXPECT_LE(live_bytes, before + kCount * kMemoryPerGuest) << kind;
    }
    RecordProperty("kib_of_kind_" + std::to_string(kind), static_cast<int>((live_bytes - before) / kCount / 1024));
    hostile.clear();
    for (unsigned i = 0; i < kCount; ++i) {
      release(static_cast<DomId>(kFirstHostile + i));
      ASSERT_EQ(dom0.ask(XS_RM, home_of(static_cast<DomId>(kFirstHostile + i)) + "|"), "OK|");
    }
    ASSERT_TRUE(run_until_quiet(server));
  }
  // Nothing of them is left.
  EXPECT_LE(live_bytes, first + 256 * 1024);
}

}  // namespace
}  // namespace xenopolis::xenstore
