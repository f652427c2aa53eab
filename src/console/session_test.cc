// Whole sessions of guests and viewers. fuzz/console_ring_fuzz.cc plays the same with bytes of libFuzzer's choice.
#include "console/testing/session.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/log.h"

namespace xenopolis::console {
namespace {

TEST(ConsoleSessions, EverybodyReadsWhatWasWrittenWhateverOneGuestDoesAndHoweverOftenTheDaemonDies) {
  log::start("test", "error");
  SessionCounts counts;
  for (unsigned seed = 1; seed <= 100; ++seed) {
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes(200 + random() % 2000);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    ASSERT_EQ(play_session(bytes, counts), "") << "seed " << seed;
  }
  // They say something only if much of it happened.
  EXPECT_GT(counts.turns, 3'000u);
  EXPECT_GT(counts.deaths, 200u);
  EXPECT_GT(counts.reboots, 200u);
  EXPECT_GT(counts.wild, 500u);
  EXPECT_GT(counts.output_bytes, 500'000u);
  EXPECT_GT(counts.input_bytes, 200'000u);
  EXPECT_GT(counts.missed_bytes, 10'000u);
}

}  // namespace
}  // namespace xenopolis::console
