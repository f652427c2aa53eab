#include "experiment/statistics.h"

#include <gtest/gtest.h>

namespace xenopolis::experiment {
namespace {

TEST(StatisticsTest, PercentileIsTheNearestRank) {
  std::vector<double> samples(100);
  std::iota(samples.rbegin(), samples.rend(), 1);
  EXPECT_EQ(percentile(samples, 0.50), 50);
  EXPECT_EQ(percentile(samples, 0.99), 99);
  EXPECT_EQ(percentile(samples, 1.0), 100);
  EXPECT_EQ(percentile(samples, 0.0), 1);
  EXPECT_EQ(percentile({7}, 0.99), 7);
  EXPECT_EQ(percentile({}, 0.5), 0);
}

TEST(StatisticsTest, SeveralPercentilesAreThoseOfEach) {
  std::vector<double> samples(100);
  std::iota(samples.rbegin(), samples.rend(), 1);
  const std::vector<double> fractions{0.0, 0.5, 0.99, 1.0};
  EXPECT_EQ(percentiles(samples, fractions), (std::vector<double>{1, 50, 99, 100}));
  EXPECT_EQ(percentiles({}, fractions), std::vector<double>(4, 0));
}

// Every sample is in exactly one group.
TEST(StatisticsTest, GroupsFollowEachOtherWithoutGaps) {
  for (const size_t count : {0, 1, 2, 3, 49, 50, 51, 1023, 10000}) {
    std::vector<double> samples(count);
    std::iota(samples.begin(), samples.end(), 1);
    for (const auto& groups : {even_groups(samples, 50), logarithmic_groups(samples, 1.3335)}) {
      size_t next = 1;
      for (const Group& group : groups) {
        EXPECT_EQ(group.first, next);
        EXPECT_GE(group.last, group.first);
        EXPECT_GE(group.p50, static_cast<double>(group.first));
        EXPECT_LE(group.p90, static_cast<double>(group.last));
        next = group.last + 1;
      }
      EXPECT_EQ(next, count + 1);
      EXPECT_LE(groups.size(), 50u);
    }
  }
}

TEST(StatisticsTest, MeanOfNothingIsZero) {
  EXPECT_EQ(mean({}), 0);
  EXPECT_EQ(mean(std::vector<double>{1, 2, 6}), 3);
}

}  // namespace
}  // namespace xenopolis::experiment
