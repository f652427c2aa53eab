#include "config/toml_nesting.h"

#include <gtest/gtest.h>

namespace xenopolis::config {
namespace {

TEST(TomlNestingTest, DepthIsThatOfBracketsOutsideOfStringsAndComments) {
  struct Row {
    const char* text;
    size_t line;  // with more than three
  } const rows[] = {
      {"", 0},
      {"[a.b.c]\n", 0},
      {"[a.b.c.d]\n", 1},
      {"a = [[[1]]]\nb = [[[2]]]\n", 0},
      {"a = [[[[1]]]]\n", 1},
      {"a = [\n[\n[\n[\n", 4},
      {"a = {b = {c = {d = {}}}}\n", 1},
      {"a.b.c.d = 1\n", 0},
      {"x = 1\na.b.c.d.e = 1\n", 2},
      {"a = '[[[['\nb = \"[[[[\\\"[[\"\n# [[[[\n", 0},
      {"a = ']'\nb = [']', [']', [']', [1]]]]\n", 2},
      {"a = \"\"\"[[[[\n\" [[ \"\"\"\"\"\nb = [[[[", 3},
      {"a = '''[[[[\n' \\''''\nb = [[[[", 3},
      {"a = \"[[[[\nb = [[[[", 2},
      {"a = \"\\", 0},
      {"]]]]\n[a]\n", 0},
  };
  for (const Row& row : rows) EXPECT_EQ(line_nested_deeper(row.text, 3), row.line) << row.text;
}

}  // namespace
}  // namespace xenopolis::config
