// Whole sessions of a history against a naive model. fuzz/console_history_fuzz.cc plays the same with bytes of
// libFuzzer's choice.
#include "console/testing/history_session.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace xenopolis::console {
namespace {

TEST(HistorySessions, AreReadAsANaiveModelSays) {
  HistoryCounts counts;
  for (unsigned seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes(200 + random() % 2000);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    ASSERT_EQ(play_history(bytes, counts), "") << "seed " << seed;
  }
  // They say something only if much of it happened.
  EXPECT_GT(counts.appends, 10'000u);
  EXPECT_GT(counts.pieces, 10'000u);
  EXPECT_GT(counts.misses, 500u);
  EXPECT_GT(counts.deaths, 500u);
  EXPECT_GT(counts.forgotten, 500u);
}

}  // namespace
}  // namespace xenopolis::console
