#include "cli/times.h"

#include <gtest/gtest.h>

namespace xenopolis::cli {
namespace {

TEST(Times, UptimesReadAsThoseOfXl) {
  EXPECT_EQ(uptime_text(0), " 0:00:00");
  EXPECT_EQ(uptime_text(59 * 60 + 7), " 0:59:07");
  EXPECT_EQ(uptime_text(86'400 + 2 * 3600), "1 day,  2:00:00");
  EXPECT_EQ(uptime_text(12 * 86'400 + 23 * 3600 + 59 * 60 + 59), "12 days, 23:59:59");
  EXPECT_EQ(short_uptime_text(3 * 86'400 + 60), "3 days,  0:01");
}

}  // namespace
}  // namespace xenopolis::cli
