#include "vcpu/emergency_console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace xenopolis::vcpu {
namespace {

using ::testing::ElementsAre;

class EmergencyConsoleTest : public ::testing::Test {
 protected:
  std::vector<std::string> lines_;
  std::atomic<uint64_t> said_ = 0;
  EmergencyConsole console_{said_, [this](std::string_view line) { lines_.emplace_back(line); }};
};

TEST_F(EmergencyConsoleTest, WritesBecomeLines) {
  console_.write("one\r\ntw");
  console_.write("o\n\nthree");
  EXPECT_THAT(lines_, ElementsAre("one", "two"));
}

TEST_F(EmergencyConsoleTest, ControlCharactersDoNotReachTheLog) {
  console_.write("\x1b[2Jred\xff\n");
  EXPECT_THAT(lines_, ElementsAre("?[2Jred?"));
}

TEST_F(EmergencyConsoleTest, OneDomainCannotFillTheLog) {
  const std::string line = std::string(1000, 'x') + "\n";
  for (int i = 0; i < 10'000; ++i) console_.write(line);
  size_t total = 0;
  for (const std::string& written : lines_) total += written.size();
  EXPECT_LE(total, EmergencyConsole::kMaxTotal + 100);
  EXPECT_EQ(lines_.back(), "(further output is dropped)");
  // Nor does who comes after it.
  lines_.clear();
  EmergencyConsole next(said_, [this](std::string_view said) { lines_.emplace_back(said); });
  next.write(line);
  EXPECT_THAT(lines_, ElementsAre());
}

}  // namespace
}  // namespace xenopolis::vcpu
