#include "cli/log_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "cli/since.h"

namespace xenopolis::cli {
namespace {

using ::testing::ElementsAre;

class LogSearchTest : public ::testing::Test {
 protected:
  LogSearchTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "xenopolis-logs-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~LogSearchTest() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(directory_ + "/" + name) << text; }
  std::vector<std::string> lines_of(const std::string& source, uint64_t since_ms = 0) {
    std::vector<std::string> lines;
    const auto logs = find_logs(directory_, {});
    for (const Log& log : *logs) {
      if (log.source != source) continue;
      EXPECT_TRUE(read_log(
          log, since_ms, [&](std::string_view line, uint64_t) { lines.emplace_back(line); }, [] { return true; }));
    }
    return lines;
  }

  std::string directory_;
};

TEST_F(LogSearchTest, RotatedLogsAreOneTextOldestFirst) {
  write("web.log.10", "a\nb");
  write("web.log.2", "c\n");
  write("web.log.1", "d\n");
  write("web.log", "e\n");
  EXPECT_THAT(lines_of("web"), ElementsAre("a", "bc", "d", "e")) << "a line may be rotated in its middle";
}

TEST_F(LogSearchTest, LogsAreThoseOfTheDomainsAskedFor) {
  for (const char* name : {"web.log", "web:1.log", "web-2.log", "db.log", "notes.txt", ".log", "db.log.old"}) {
    write(name, "x\n");
  }
  std::vector<std::string> sources;
  const auto logs = find_logs(directory_, {"web*"});
  for (const Log& log : *logs) sources.push_back(log.source);
  EXPECT_THAT(sources, ElementsAre("web", "web-2", "web:1"));
  EXPECT_EQ(find_logs(directory_, {})->size(), 4u);
  EXPECT_FALSE(find_logs(directory_ + "/none", {}));
}

TEST_F(LogSearchTest, StampsSayWhenALineWasWrittenAndAreNoPartOfIt) {
  const uint64_t now = now_ms();
  write("web.log",
        "[" + to_local_time(now - 3'600'000) + "] old\nold, too\n[" + to_local_time(now - 1000) + "] new\nnew, too\n");
  EXPECT_THAT(lines_of("web"), ElementsAre("old", "old, too", "new", "new, too"));
  EXPECT_THAT(lines_of("web", now - 60'000), ElementsAre("new", "new, too"));
  write("db.log", "without\n");
  EXPECT_THAT(lines_of("db", now - 60'000), ElementsAre("without")) << "the file has just been written";
  EXPECT_THAT(lines_of("db", now + 60'000), ElementsAre());
}

}  // namespace
}  // namespace xenopolis::cli
