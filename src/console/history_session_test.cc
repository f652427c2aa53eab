// Whole sessions of a history against a naive model. fuzz/console_history_fuzz.cc plays the same with bytes of
// libFuzzer's choice.
#include "console/testing/history_session.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "console/history.h"
#include "console/testing/memory_file.h"

namespace xenopolis::console {
namespace {

TEST(HistorySessions, AreReadAsANaiveModelSays) {
  HistoryCounts counts;
  for (unsigned seed = 1; seed <= 100; ++seed) {
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes(200 + random() % 2000);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    ASSERT_EQ(play_history(bytes, counts), "") << "seed " << seed;
  }
  // They say something only if much of it happened.
  EXPECT_GT(counts.appends, 3'000u);
  EXPECT_GT(counts.pieces, 3'000u);
  EXPECT_GT(counts.misses, 200u);
  EXPECT_GT(counts.deaths, 200u);
  EXPECT_GT(counts.forgotten, 200u);
}

// A block's last bytes are too few for another chunk, and look like one.
TEST(HistoryAfterADeath, WhatABlockHeldBeforeIsNotTakenForText) {
  constexpr ConsoleId kOld{1, 0}, kNew{2, 0};
  Fd memory = memory_file();
  {
    const auto history = History::open(same_file(memory)).value();
    Stream old = history->attach(kOld, 1).value().stream;
    std::string small(5 * 992, '\0');
    for (size_t i = 0; i < small.size(); i += 2) small[i] = 1;
    old.append(small, 1);
    history->forget(old);
    Stream text = history->attach(kNew, 2).value().stream;
    text.append(std::string(982, 'x'), 1);
    text.append(std::string(500, 'y'), 2);
  }
  const auto history = History::open(std::move(memory)).value();
  const Stream found = history->attach(kNew, 2).value().stream;
  EXPECT_EQ(found.begin(), 0u);
  EXPECT_EQ(found.end(), 1482u);
}

}  // namespace
}  // namespace xenopolis::console
