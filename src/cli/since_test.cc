#include "cli/since.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

namespace xenopolis::cli {
namespace {

constexpr uint64_t kNow = 1'795'392'603'500;  // 2026-11-23 00:10:03.5 UTC

class SinceTest : public ::testing::Test {
 protected:
  SinceTest() {
    setenv("TZ", "UTC-2", 1);  // two hours east
    tzset();
  }
  ~SinceTest() override {
    unsetenv("TZ");
    tzset();
  }
};

TEST_F(SinceTest, SpansCountBackFromNow) {
  EXPECT_EQ(*parse_since("90s", kNow), kNow - 90'000);
  EXPECT_EQ(*parse_since("10m", kNow), kNow - 600'000);
  EXPECT_EQ(*parse_since("2h", kNow), kNow - 7'200'000);
  EXPECT_EQ(*parse_since("3d", kNow), kNow - 3 * 86'400'000);
  EXPECT_EQ(*parse_since("999999999d", kNow), 0u) << "before there was time";
}

TEST_F(SinceTest, MomentsAreLocalUnlessTheySayUtc) {
  EXPECT_EQ(to_local_time(kNow), "2026-11-23 02:10:03.500");
  EXPECT_EQ(*parse_since("2026-11-23T02:10:03.500", kNow), kNow);
  EXPECT_EQ(*parse_since("2026-11-23 02:10:03", kNow), kNow - 500);
  EXPECT_EQ(*parse_since("2026-11-23T00:10:03Z", kNow), kNow - 500);
  EXPECT_EQ(*parse_since("02:10", kNow), kNow - 3'500);
  EXPECT_EQ(*parse_since("2026-11-23", kNow), kNow - 3'500 - (2 * 60 + 10) * 60'000);
}

TEST_F(SinceTest, NonsenseIsRefused) {
  for (const char* text : {"", "soon", "10", "10x", "-5m", "2026", "2026-13-01", "2026-11-23X", "25:00", "02:10:03.5",
                           "2026-11-23T", "99999999999999999999s", "02:10 tomorrow"}) {
    EXPECT_FALSE(parse_since(text, kNow)) << text;
  }
}

TEST_F(SinceTest, StampOfALogIsReadWithItsLength) {
  const std::string stamp = "[" + to_local_time(kNow) + "] ";
  const auto read = parse_stamp(stamp + "text");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->time_ms, kNow);
  EXPECT_EQ(read->bytes, stamp.size());
  EXPECT_FALSE(parse_stamp("[    0.000000] Linux version"));
  EXPECT_FALSE(parse_stamp(""));
}

}  // namespace
}  // namespace xenopolis::cli
