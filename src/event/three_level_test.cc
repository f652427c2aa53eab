// What only the 3-level ABI has; the rest is in the suites of all ABIs.
#include "event/three_level.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "event/test_world.h"

namespace xenopolis::event {
namespace {

using testing::ElementsAre;

template <class T>
XenErrno error_of(const Result<T, XenErrno>& result) {
  return result ? XenErrno{0} : result.error();
}

class ThreeLevelTest : public testing::Test {
 protected:
  ThreeLevelTest() : channels_(world_.channels), guest_(channels_, 2) {
    world_.add_guest(1, Abi::kFifo, {}, 0);
    world_.add_guest(2, Abi::kThreeLevel, {.vcpus = 2});
    for (uint32_t index = 0; index < kBitmapFrames; ++index) {
      pending_[index] = 20 + index;
      mask_[index] = 40 + index;
    }
  }
  xen_ulong_t* page(Gfn gfn) { return reinterpret_cast<xen_ulong_t*>(machine::memory_of(2).ram_page(gfn)); }
  // Connects ports of domain 2 until there is `port`; returns the sender's.
  Port connect_up_to(Port port) {
    for (Port next = 0; next + 1 < port;) next = channels_.alloc_unbound(2, 2, 1).value();
    return channels_.bind_interdomain(1, 2, channels_.alloc_unbound(2, 2, 1).value()).value();
  }
  void back_to_two_level() { ASSERT_TRUE(channels_.reset(2, 2)); }

  World world_;
  EventChannels& channels_;
  GuestSide guest_;
  Gfn pending_[kBitmapFrames], mask_[kBitmapFrames];
};

TEST_F(ThreeLevelTest, AnEventSetsOneBitOnEachLevel) {
  const Port port = 100'000;
  const Port sender = connect_up_to(port);
  ASSERT_TRUE(channels_.send(1, sender));
  const uint32_t word = port / 64;
  EXPECT_EQ(page(kFirstBitmapGfn + word / 512)[word % 512], 1ull << port % 64);
  EXPECT_EQ(page(kControlGfn)[word / 64], 1ull << word % 64);
  EXPECT_EQ(guest_.info()->evtchn_pending_sel, 1ull << word / 64);
  EXPECT_TRUE(guest_.upcall_pending());
  EXPECT_THAT(guest_.take(), ElementsAre(port));
}

TEST_F(ThreeLevelTest, LastPortIs262143) {
  const Port sender = connect_up_to(262'143);
  EXPECT_EQ(error_of(channels_.alloc_unbound(2, 2, 1)), XenErrno::kNoSpc);
  ASSERT_TRUE(channels_.send(1, sender));
  EXPECT_THAT(guest_.take(), ElementsAre(262'143));
  EXPECT_EQ(channels_.status(1, 1, sender)->remote_port, 262'143u);
}

TEST_F(ThreeLevelTest, SecondLevelOfOneVcpuIsNotTouchedByTheOther) {
  const auto [ours, theirs] = world_.connect(1, 2);
  ASSERT_TRUE(channels_.bind_vcpu(2, theirs, 1));
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_EQ(page(kControlGfn)[0], 0u);
  EXPECT_EQ(page(kControlGfn)[64], 1u);
  EXPECT_EQ(guest_.info()->evtchn_pending_sel, 0u);
  EXPECT_THAT(GuestSide(channels_, 2, 1).take(), ElementsAre(theirs));
}

TEST_F(ThreeLevelTest, PendingAndMaskedPortsSurviveTheChangeFromTwoLevel) {
  back_to_two_level();
  const auto [from_masked, masked] = world_.connect(1, 2);
  const auto [from_open, open] = world_.connect(1, 2);
  guest_.set_mask(masked, true);
  ASSERT_TRUE(channels_.send(1, from_masked));
  ASSERT_TRUE(channels_.send(1, from_open));
  ASSERT_TRUE(channels_.register_bitmaps(2, pending_, mask_));
  EXPECT_EQ(channels_.abi(2), Abi::kThreeLevel);
  // Between the two steps nothing is lost either.
  const auto [from_late, late] = world_.connect(1, 2);
  ASSERT_TRUE(channels_.send(1, from_late));
  ASSERT_TRUE(channels_.register_selector(2, 0, 60, 512));
  EXPECT_TRUE(guest_.upcall_pending());
  EXPECT_THAT(guest_.take(), ElementsAre(open, late));
  ASSERT_TRUE(channels_.unmask(2, masked));
  EXPECT_THAT(guest_.take(), ElementsAre(masked));
}

TEST_F(ThreeLevelTest, OnlyDomainsThatMayAreOfferedIt) {
  EXPECT_EQ(channels_.extended_abis(2), uint64_t{EVTCHN_EXTENDED_3LEVEL});
  EXPECT_EQ(channels_.extended_abis(1), uint64_t{EVTCHN_EXTENDED_NONE});
  EXPECT_EQ(error_of(channels_.register_bitmaps(1, pending_, mask_)), XenErrno::kNoSys);
  EXPECT_EQ(error_of(channels_.register_selector(1, 0, 60, 0)), XenErrno::kNoSys);
  uint8_t link_bits = 0;
  back_to_two_level();
  EXPECT_EQ(error_of(channels_.init_control(2, 0, 1, 0, link_bits)), XenErrno::kNoSys) << "one way or the other";
  const Port port = channels_.alloc_unbound(2, 2, 1).value();
  EXPECT_EQ(error_of(channels_.set_priority(2, port, 3)), XenErrno::kNoSys);
}

TEST_F(ThreeLevelTest, BadPlacesAreRefusedAndNothingChanges) {
  EXPECT_EQ(error_of(channels_.register_bitmaps(2, pending_, mask_)), XenErrno::kBusy) << "has them";
  EXPECT_EQ(error_of(channels_.register_selector(2, 0, 60, 0)), XenErrno::kInval) << "has one";
  back_to_two_level();
  EXPECT_EQ(error_of(channels_.register_selector(2, 0, 60, 0)), XenErrno::kOpNotSupp) << "before the bitmaps";
  for (const Gfn bad : {Gfn{kRamPages}, Gfn{1} << 40, ~Gfn{0}, mask_[3], pending_[0]}) {
    const Gfn good = std::exchange(pending_[5], bad);
    EXPECT_EQ(error_of(channels_.register_bitmaps(2, pending_, mask_)), XenErrno::kInval) << bad;
    pending_[5] = good;
  }
  EXPECT_EQ(channels_.abi(2), Abi::kTwoLevel);
  ASSERT_TRUE(channels_.register_bitmaps(2, pending_, mask_));
  EXPECT_EQ(error_of(channels_.register_selector(2, 2, 60, 0)), XenErrno::kNoEnt);
  EXPECT_EQ(error_of(channels_.register_selector(2, 0, kRamPages, 0)), XenErrno::kInval);
  EXPECT_EQ(error_of(channels_.register_selector(2, 0, 60, 4)), XenErrno::kInval) << "alignment";
  EXPECT_EQ(error_of(channels_.register_selector(2, 0, 60, 4096 - 504)), XenErrno::kInval) << "crosses the page";
  EXPECT_EQ(error_of(channels_.register_selector(2, 0, 60, ~7u)), XenErrno::kInval);
  EXPECT_TRUE(channels_.register_selector(2, 0, 60, 4096 - 512));
}

TEST_F(ThreeLevelTest, ResetReleasesTheGuestsPages) {
  back_to_two_level();
  for (const Gfn gfn : {kFirstBitmapGfn, kFirstBitmapGfn + kBitmapFrames, kControlGfn}) {
    std::fill_n(page(gfn), 512, 0x5a5a);
  }
  const auto [ours, theirs] = world_.connect(1, 2);
  ASSERT_TRUE(channels_.send(1, ours));
  EXPECT_THAT(guest_.take(), ElementsAre(theirs));
  for (const Gfn gfn : {kFirstBitmapGfn, kFirstBitmapGfn + kBitmapFrames, kControlGfn}) {
    EXPECT_EQ(std::count(page(gfn), page(gfn) + 512, 0x5a5a), 512);
  }
}

}  // namespace
}  // namespace xenopolis::event
