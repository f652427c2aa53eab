#include "base/printable.h"

#include <gtest/gtest.h>

namespace xenopolis {
namespace {

TEST(PrintableTest, TextIsLeftAsItIs) {
  EXPECT_EQ(printable("a \t~ \u00e4 \u00a0 \u20ac \U0001f427"), "a \t~ \u00e4 \u00a0 \u20ac \U0001f427");
  EXPECT_EQ(printable(""), "");
}

TEST(PrintableTest, NothingSteersATerminal) {
  EXPECT_EQ(printable("\x1b[2J"), "?[2J");
  EXPECT_EQ(printable("\r\n\b\x7f"), "????");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "?");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "??2J")
      << "CSI of C1, as UTF-8 has it";
  EXPECT_EQ(printable("\x9b"
                      "2J"),
            "?2J")
      << "and as one byte";
}

TEST(PrintableTest, WhatIsNoUtf8IsShownAsQuestionMarks) {
  EXPECT_EQ(printable("\xff\xc3"), "??");
  EXPECT_EQ(printable("\xc1\x9b"), "??") << "overlong";
  EXPECT_EQ(printable("\xe0\x82\x9b"), "???") << "overlong";
  EXPECT_EQ(printable("\xed\xa0\x80"), "???") << "half of a pair";
  EXPECT_EQ(printable("\xf4\x90\x80\x80\xf8"), "?????") << "beyond the last";
  EXPECT_EQ(printable("\xe2\x82"), "??") << "cut off";
}

TEST(PrintableTest, LinesEndWhereTheyMay) {
  EXPECT_EQ(printable_lines("one\ntwo\x1b\r\n"), "one\ntwo??\n");
}

}  // namespace
}  // namespace xenopolis
