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

TEST(StatisticsTest, MeanOfNothingIsZero) {
  EXPECT_EQ(mean({}), 0);
  EXPECT_EQ(mean(std::vector<double>{1, 2, 6}), 3);
}

}  // namespace
}  // namespace xenopolis::experiment
