#include "machine/statistics.h"

#include <gtest/gtest.h>

#include <map>

#include "machine/machine.h"

namespace xenopolis::machine {
namespace {

class StatisticsTest : public testing::Test {
 protected:
  std::map<uint32_t, uint64_t> upcalls() {
    std::map<uint32_t, uint64_t> found;
    for_each_statistics(machine_, [&](uint32_t number, const Statistics& all) { found[number] = all.upcalls.load(); });
    return found;
  }
  Machine machine_ = Machine::create(40 * kGiB).value();
};

TEST_F(StatisticsTest, OnlyWhoHasCountedIsThere) {
  EXPECT_TRUE(upcalls().empty());
  count(statistics_of(3).upcalls);
  count(statistics_of(4).upcalls, 7);
  count(statistics_of(4095).upcalls, 2);
  count(statistics_of(kPolisdStatistics).upcalls, 9);
  EXPECT_EQ(upcalls(), (std::map<uint32_t, uint64_t>{{3, 1}, {4, 7}, {4095, 2}, {kPolisdStatistics, 9}}));
}

TEST_F(StatisticsTest, LookingCostsNoMemory) {
  count(statistics_of(7).upcalls);
  const uint64_t before = machine_.resident_bytes();
  upcalls();
  EXPECT_EQ(machine_.resident_bytes(), before);
}

TEST_F(StatisticsTest, TimesAreCountedByPowersOfTwo) {
  Histogram& histogram = statistics_of(0).wake;
  for (const uint64_t ns : {0ull, 1ull, 1023ull, 1024ull, 2047ull, 1ull << 40, ~0ull >> 1}) histogram.add(ns);
  EXPECT_EQ(histogram.buckets[0].load(), 1u) << "nothing is below 1 ns but 0";
  EXPECT_EQ(histogram.buckets[1].load(), 1u);
  EXPECT_EQ(histogram.buckets[10].load(), 1u) << "1023 is below 2^10";
  EXPECT_EQ(histogram.buckets[11].load(), 2u);
  EXPECT_EQ(histogram.buckets[Histogram::kBuckets - 1].load(), 2u);
}

}  // namespace
}  // namespace xenopolis::machine
