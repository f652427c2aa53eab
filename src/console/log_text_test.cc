#include "console/log_text.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

namespace xenopolis::console {
namespace {

constexpr uint64_t kTime = 1'795'399'803'123;  // 2026-11-23 02:10:03.123 UTC
constexpr char kStamp[] = "[2026-11-23 02:10:03.123] ";

class LogTextTest : public testing::Test {
 protected:
  LogTextTest() {
    setenv("TZ", "UTC", 1);
    tzset();
  }

  LogText plain_{false};
  LogText stamped_{true};
};

TEST_F(LogTextTest, WithoutStampsTextIsWhatTheGuestWrote) {
  const std::string_view bytes("a\n\0\xff\r\x1b", 6);
  EXPECT_EQ(plain_.add(bytes, kTime), 6u);
  EXPECT_EQ(plain_.text(), bytes);
}

TEST_F(LogTextTest, EachLineIsStampedWhenItsFirstByteComes) {
  stamped_.add("one\ntw", kTime);
  stamped_.add("o", kTime + 1);
  stamped_.add("\nthree\n", kTime + 2);
  stamped_.add("four", kTime + 900);
  const std::string expected = std::string(kStamp) + "one\n" + kStamp +
                               "two\n"
                               "[2026-11-23 02:10:03.125] three\n"
                               "[2026-11-23 02:10:04.023] four";
  EXPECT_EQ(stamped_.text(), expected);
}

TEST_F(LogTextTest, ALineThatBeganBeforeIsNotStampedAgain) {
  stamped_.add("login: ", kTime);
  ASSERT_FALSE(stamped_.at_line_start());
  stamped_.clear(stamped_.at_line_start());
  stamped_.add("root\n$ ", kTime);
  EXPECT_EQ(stamped_.text(), std::string("root\n") + kStamp + "$ ");
}

TEST_F(LogTextTest, ACarriageReturnAfterTheNewlineStaysWithItsLine) {
  stamped_.add("one\n\rtwo\n", kTime);
  stamped_.add("\r", kTime);
  stamped_.add("three", kTime);
  EXPECT_EQ(stamped_.text(), std::string(kStamp) + "one\n\r" + kStamp + "two\n\r" + kStamp + "three");
}

TEST_F(LogTextTest, AMarkStandsOnALineOfItsOwn) {
  plain_.add("half a li", kTime);
  plain_.add_mark(7, kTime);
  plain_.add_mark(8, kTime);
  plain_.add("ne\n", kTime);
  EXPECT_EQ(plain_.text(), "half a li\n[7 bytes dropped]\n[8 bytes dropped]\nne\n");
  stamped_.add_mark(7, kTime);
  stamped_.add_mark(8, 0);  // nobody knows when
  EXPECT_EQ(stamped_.text(), std::string(kStamp) + "[7 bytes dropped]\n[8 bytes dropped]\n");
}

TEST_F(LogTextTest, TakesNoMoreThanItsLimitAndSaysHowMuchThatWas) {
  LogText plain(false, 100);
  EXPECT_EQ(plain.add(std::string(99, 'x'), kTime), 99u);
  EXPECT_EQ(plain.add("yz", kTime), 1u);
  EXPECT_EQ(plain.add("z", kTime), 0u);
  EXPECT_EQ(plain.text().size(), 100u);

  // Lines that are all stamp: 27 bytes each, and no stamp without a byte behind it.
  LogText stamped(true, 100);
  EXPECT_EQ(stamped.add("\n\n\n\n\n", kTime), 3u);
  EXPECT_EQ(stamped.text().size(), 81u);
}

TEST_F(LogTextTest, TextInPiecesAnywhereMakesTheSameLog) {
  const std::string text = "one\ntwo\r\nthree\n\r\nfour\n\n\rfive";
  stamped_.add(text, kTime);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    LogText pieces(true);
    std::string log;
    for (const std::string_view part : {std::string_view(text).substr(0, cut), std::string_view(text).substr(cut)}) {
      pieces.clear(pieces.at_line_start());
      ASSERT_EQ(pieces.add(part, kTime), part.size());
      log += pieces.text();
    }
    EXPECT_EQ(log, stamped_.text()) << cut;
  }
}

}  // namespace
}  // namespace xenopolis::console
