#include "cli/lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace xenopolis::cli {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> lines_of(std::initializer_list<std::string_view> pieces) {
  Lines lines;
  std::vector<std::string> seen;
  const auto visit = [&](std::string_view line, uint64_t) { seen.emplace_back(line); };
  for (const std::string_view piece : pieces) lines.add(piece, 1, visit);
  lines.finish(visit);
  return seen;
}

// What is left of it when questions to the terminal are left out, and what was left out.
std::pair<std::string, std::string> questions_of(std::string_view text, size_t step) {
  console::EscapeScanner scanner;
  std::string kept, asked;
  for (size_t at = 0; at < text.size(); at += step) {
    scanner.scan(text.substr(at, step), [&](console::TokenKind kind, std::string_view token) {
      (console::asks_terminal(kind, token) ? asked : kept) += token;
    });
  }
  return {kept, asked};
}

TEST(LinesTest, LinesAreWholeHoweverTheyArrive) {
  EXPECT_THAT(lines_of({"one\r\ntwo\n", "thr", "ee\n\nlast"}), ElementsAre("one", "two", "three", "", "last"));
  EXPECT_THAT(lines_of({}), ElementsAre());
}

TEST(LinesTest, LineHasTheTimeOfItsFirstByte) {
  Lines lines;
  std::vector<uint64_t> times;
  const auto visit = [&](std::string_view, uint64_t time_ms) { times.push_back(time_ms); };
  lines.add("a", 10, visit);
  lines.add("b\nc\n", 20, visit);
  lines.add("\n", 30, visit);
  EXPECT_THAT(times, ElementsAre(10, 20, 30));
}

TEST(LinesTest, GuestSteersNobodysTerminal) {
  EXPECT_THAT(lines_of({"\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07text\b\n"}), ElementsAre("red text"));
  EXPECT_THAT(lines_of({"a\x1b", "[2", "Jb\x1bPq;\x1b\\c\n"}), ElementsAre("abc")) << "in pieces";
  EXPECT_THAT(lines_of({"x\xc2\x9b"
                        "2Jy\n"}),
              ElementsAre("x??2Jy"))
      << "CSI as one character";
  EXPECT_THAT(lines_of({"x\x9b"
                        "2Jy\n"}),
              ElementsAre("x?2Jy"))
      << "and as one byte";
  EXPECT_THAT(lines_of({"gr\xc3\xbc\xc3\x9f\ttab\n"}), ElementsAre("gr\xc3\xbc\xc3\x9f\ttab")) << "letters stay";
  EXPECT_THAT(lines_of({"\xc2\xc2\x9b\x1e\x9b\n"}), ElementsAre("????")) << "nor do its pieces become one";
  EXPECT_THAT(lines_of({"\xe2\x82\xac \xf0\x9f\x90\xa7 \xe0\x80\xaf \xed\xa0\x80 \xf5\xc0\xe2\x82\n"}),
              ElementsAre("\xe2\x82\xac \xf0\x9f\x90\xa7 ??? ??? ????"));
  EXPECT_THAT(lines_of({"\x1b[" + std::string(10'000, '1') + "mx\n"}), ElementsAre("x"));
}

TEST(LinesTest, LineWithoutEndIsCut) {
  const auto lines = lines_of({std::string(3 * Lines::kMostBytes + 1, 'x')});
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].size(), Lines::kMostBytes);
  EXPECT_EQ(lines[3], "x");
}

TEST(EscapesTest, WhatATerminalAnswersIsLeftOutAndNothingElse) {
  const std::string harmless =
      "text\r\n\x1b[1;31m\x1b[2J\x1b[10;10H\x1b[?25l\x1b(B\x1b]0;title\x07\x1b"
      "7\x1b[0 q";
  const std::string questions[] = {
      "\x1b[6n", "\x1b[?6n",   "\x1b[c",        "\x1b[>c",           "\x1bZ",          "\x05",   "\x1b[18t",
      "\x1b[>q", "\x1b[?25$p", "\x1b]11;?\x07", "\x1b]52;c;?\x1b\\", "\x1bP$qm\x1b\\", "\x1b[?u"};
  std::string text = harmless, all;
  for (const std::string& question : questions) {
    text += question + "x";
    all += question;
  }
  for (const size_t step : {size_t{1}, size_t{3}, text.size()}) {
    const auto [kept, asked] = questions_of(text, step);
    EXPECT_EQ(asked, all) << step;
    EXPECT_EQ(kept, harmless + std::string(std::size(questions), 'x')) << step;
  }
}

}  // namespace
}  // namespace xenopolis::cli
