#include "cli/line_filter.h"

#include <gtest/gtest.h>

namespace xenopolis::cli {
namespace {

std::string printed(const ConsolesOptions& options, std::string_view line, bool with_colors = false) {
  std::string output;
  const auto filter = LineFilter::create(options, with_colors);
  if (!filter) return filter.error().message();
  filter->print("web", line, 0, output);
  return output;
}

TEST(LineFilterTest, LinesThatMatchComeWithTheirDomain) {
  ConsolesOptions options;
  EXPECT_EQ(printed(options, "hello"), "web: hello\n");
  options.grep = "pan?ic|oops";
  EXPECT_EQ(printed(options, "kernel panic"), "web: kernel panic\n");
  EXPECT_EQ(printed(options, "kernel PANIC"), "");
  options.ignore_case = true;
  EXPECT_EQ(printed(options, "kernel PANIC"), "web: kernel PANIC\n");
}

TEST(LineFilterTest, ColorsShowTheDomainAndWhatMatches) {
  ConsolesOptions options;
  options.grep = "a+";
  const std::string line = printed(options, "xaayaz", true);
  EXPECT_NE(line.find("web:"), std::string::npos);
  EXPECT_NE(line.find("x\x1b[1maa\x1b[0my\x1b[1ma\x1b[0mz\n"), std::string::npos) << line;
  options.grep = "b*";
  EXPECT_NE(printed(options, "xyz", true).find(" xyz\n"), std::string::npos) << "an empty match is shown nowhere";
  options.grep = "^x";
  EXPECT_NE(printed(options, "xx", true).find("\x1b[1mx\x1b[0mx\n"), std::string::npos) << "a line begins once";
}

TEST(LineFilterTest, ProgramsGetAnObjectForEachLine) {
  ConsolesOptions options;
  options.json = options.times = true;
  options.grep = "say";
  EXPECT_EQ(printed(options, "I say \"no\"", true),
            "{\"console\":\"web\",\"text\":\"I say \\\"no\\\"\",\"time_ms\":0}\n");
  EXPECT_EQ(printed(options, "silence"), "");
}

TEST(LineFilterTest, ExpressionThatIsNoneIsRefusedWithTheReason) {
  ConsolesOptions options;
  options.grep = "a(b";
  EXPECT_NE(printed(options, "").find("missing )"), std::string::npos) << printed(options, "");
}

// In a backtracking engine this takes 2^100 steps.
TEST(LineFilterTest, NoExpressionSearchesForEver) {
  ConsolesOptions options;
  options.grep = "^(a+)+$";
  EXPECT_EQ(printed(options, std::string(100, 'a') + "b"), "");
  options.grep = "\xff";
  printed(options, "\xff\xfe");
}

}  // namespace
}  // namespace xenopolis::cli
