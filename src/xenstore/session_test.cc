// Whole sessions against the naive model. fuzz/xenstore_session_fuzz.cc plays the same with bytes of libFuzzer's
// choice.
#include "xenstore/testing/session.h"

#include <gtest/gtest.h>

#include <random>

namespace xenopolis::xenstore::model {
namespace {

TEST(Sessions, AreAnsweredAsTheModelPredicts) {
  SessionCounts counts;
  for (unsigned seed = 1; seed <= 400; ++seed) {
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes(200 + random() % 2000);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    const std::string fault = play_session(bytes, counts);
    ASSERT_EQ(fault, "") << "seed " << seed;
  }
  // They say something only if much of it happened.
  EXPECT_GT(counts.requests, 50'000u);
  EXPECT_GT(counts.events, 5'000u);
  EXPECT_GT(counts.commits, 500u);
  EXPECT_GT(counts.conflicts, 50u);
  EXPECT_GT(counts.releases, 200u);
  EXPECT_LT(counts.errors, counts.requests * 3 / 4);
}

}  // namespace
}  // namespace xenopolis::xenstore::model
