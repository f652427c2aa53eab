// Random operations, against a model that knows nothing of words, queues and bitmaps.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <set>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

struct ModelPort {
  DomId remote = 0;
  Port remote_port = 0;  // 0: unbound
  bool pending = false;
};

class Model {
 public:
  explicit Model(Abi abi) : channels_(world_.channels), fifo_(abi == Abi::kFifo) {
    for (DomId domid = 1; domid <= kDomains; ++domid) {
      world_.add_guest(domid, abi, {.max_port = 12, .vcpus = 2});
      for (VcpuId vcpu = 0; vcpu < 2; ++vcpu) sides_[domid].emplace_back(channels_, domid, vcpu);
    }
  }

  void run(uint8_t operation, uint8_t a, uint8_t b) {
    const DomId self = static_cast<DomId>(1 + a % kDomains), other = static_cast<DomId>(1 + b % kDomains);
    const Port port = 1 + a / 16 % 13u, other_port = 1 + b / 16 % 13u;
    switch (operation % 8) {
      case 0:
        if (const auto opened = channels_.alloc_unbound(self, self, other)) {
          RC_ASSERT(ports_[self].emplace(*opened, ModelPort{.remote = other}).second);
        } else {
          RC_ASSERT(ports_[self].size() == 12 || fifo_);  // FIFO: some may still be queued
        }
        break;
      case 1:
        bind(self, other, other_port);
        break;
      case 2:
        close(self, port);
        break;
      case 3:
        send(self, port);
        break;
      case 4:
        if (event_exists(port)) {
          sides_[self][0].set_mask(port, true);
          masked_.insert({self, port});
        }
        break;
      case 5:
        masked_.erase({self, port});
        RC_ASSERT(channels_.unmask(self, port).has_value());  // a closed port has no mask, which is no error
        if (ports_[self].count(port) == 0) sides_[self][0].set_mask(port, false);
        break;
      case 6: {
        const bool moved = channels_.bind_vcpu(self, port, b % 2).has_value();
        RC_ASSERT(moved == (ports_[self].count(port) != 0));
        if (fifo_) RC_ASSERT(channels_.set_priority(self, port, b % 16).has_value() == moved);
        break;
      }
      default:
        take(self);
    }
  }

  void finish() {
    for (DomId domid = 1; domid <= kDomains; ++domid) {
      take(domid);
      RC_ASSERT(channels_.counters(domid).open_ports == ports_[domid].size());
      for (const auto& [port, model] : ports_[domid]) {
        const PortStatus status = channels_.status(domid, domid, port).value();
        RC_ASSERT(status.remote_domid == model.remote);
        RC_ASSERT(status.remote_port == model.remote_port);
        RC_ASSERT(status.pending == model.pending);
        RC_ASSERT(status.masked == (masked_.count({domid, port}) != 0));
      }
    }
  }

 private:
  static constexpr DomId kDomains = 2;

  static bool event_exists(Port port) { return port <= 12; }

  void bind(DomId self, DomId other, Port other_port) {
    const auto found = ports_[other].find(other_port);
    const bool offered = found != ports_[other].end() && found->second.remote == self && found->second.remote_port == 0;
    const auto bound = channels_.bind_interdomain(self, other, other_port);
    if (!bound) {
      RC_ASSERT(!offered || fifo_ || ports_[self].size() == 12);
      return;
    }
    RC_ASSERT(offered);
    found->second.remote_port = *bound;
    RC_ASSERT(ports_[self].emplace(*bound, ModelPort{other, other_port, true}).second);
  }

  void close(DomId self, Port port) {
    const auto found = ports_[self].find(port);
    RC_ASSERT(channels_.close(self, port).has_value() == (found != ports_[self].end()));
    if (found == ports_[self].end()) return;
    if (found->second.remote_port != 0) {
      ModelPort& end = ports_[found->second.remote].at(found->second.remote_port);
      end.remote = self;
      end.remote_port = 0;
    }
    ports_[self].erase(found);
  }

  void send(DomId self, Port port) {
    const auto found = ports_[self].find(port);
    RC_ASSERT(channels_.send(self, port).has_value() == (found != ports_[self].end()));
    if (found != ports_[self].end() && found->second.remote_port != 0) {
      ports_[found->second.remote].at(found->second.remote_port).pending = true;
    }
  }

  void take(DomId self) {
    std::multiset<Port> taken, expected;
    for (GuestSide& side : sides_[self]) {
      for (const Port port : side.take()) taken.insert(port);
    }
    for (auto& [port, model] : ports_[self]) {
      if (!model.pending || masked_.count({self, port}) != 0) continue;
      model.pending = false;
      expected.insert(port);
    }
    RC_ASSERT(taken == expected);
  }

  World world_;
  EventChannels& channels_;
  bool fifo_;
  std::array<std::vector<GuestSide>, kDomains + 1> sides_;
  std::map<DomId, std::map<Port, ModelPort>> ports_;
  std::set<std::pair<DomId, Port>> masked_;
};

class ModelTest : public testing::TestWithParam<Abi> {};

TEST_P(ModelTest, AnySequenceOfOperationsDoesWhatTheModelDoes) {
  const bool holds = rc::check([] {
    const auto operations = *rc::gen::scale(4.0, rc::gen::arbitrary<std::vector<std::array<uint8_t, 3>>>());
    Model model(GetParam());
    for (const auto& [operation, a, b] : operations) model.run(operation, a, b);
    model.finish();
  });
  EXPECT_TRUE(holds);
}

INSTANTIATE_TEST_SUITE_P(Abis, ModelTest, kEveryAbi, name_of_abi);

}  // namespace
}  // namespace xenopolis::event
