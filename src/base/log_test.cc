#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace xenopolis::log {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class LogTest : public testing::Test {
 protected:
  ~LogTest() override {
    set_listener(nullptr);
    start("test", "error");
  }
  // What `body` logs, as the daemon "prog" whose level is "warn".
  template <class Body>
  std::string logged(Format format, Body&& body) {
    testing::internal::CaptureStderr();
    start("prog", "warn", format);
    body();
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(LogTest, TextIsOneLinePerFact) {
  const std::string text = logged(Format::kText, [] {
    info("too small");
    error(About{3}, "domain {} fell over", 3);
  });
  EXPECT_THAT(text, MatchesRegex("[-0-9]+T[:.0-9]+ prog\\[[0-9]+\\] error: domain 3 fell over\n"));
}

TEST_F(LogTest, JsonHasAFieldForEachFact) {
  const std::string text = logged(Format::kJson, [] {
    info("too small");
    warn(About{3}, "a \"quoted\"\nline with \xff");
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  const nlohmann::json line = nlohmann::json::parse(text);
  EXPECT_THAT(line["time"].get<std::string>(), MatchesRegex("[-0-9]+T[:0-9]+\\.[0-9][0-9][0-9]Z"));
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["program"], "prog");
  EXPECT_EQ(line["pid"], getpid());
  EXPECT_EQ(line["domid"], 3);
  EXPECT_EQ(line["message"], "a \"quoted\"\nline with \uFFFD");
}

TEST_F(LogTest, TextOfOthersIsNoLineOfItsOwnAndSteersNoTerminal) {
  const std::string text = logged(Format::kText, [] {
    warn("no command \"{}\"", "x\n2026-01-31T12:00:00.123 polisd[1] error: \x1b[2J");
    warn(
        "a \xc2\x9b"
        "2J");
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  const std::string json = logged(Format::kJson, [] {
    warn(
        "\x1b[2J \x7f \xc2\x9b"
        "2J");
  });
  for (const std::string& line : {text, json}) {
    EXPECT_TRUE(std::all_of(line.begin(), line.end(), [](char c) { return (c >= ' ' && c <= '~') || c == '\n'; }))
        << line;
  }
  EXPECT_EQ(nlohmann::json::parse(json)["message"],
            "\x1b[2J \x7f \xc2\x9b"
            "2J");
}

std::string heard;

TEST_F(LogTest, AListenerHearsWhatIsNotPrintedButNotDebugging) {
  heard.clear();
  set_listener([](const Entry& entry) { heard += std::string(entry.origin) + ":" + std::string(entry.text) + ";"; });
  EXPECT_EQ(logged(Format::kText,
                   [] {
                     debug("details");
                     info("started");
                     write_guests(3, "web-1", "hello");
                   }),
            "");
  EXPECT_EQ(heard, "prog:started;web-1:hello;");
}

}  // namespace
}  // namespace xenopolis::log
