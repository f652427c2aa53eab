#include "console/log_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "console/fake_guest.h"

namespace xenopolis::console {
namespace {

class LogFilesTest : public testing::Test {
 protected:
  void append(const std::string& name, std::string_view text) { logs_.append(name, text); }

  TemporaryDirectory directory_;
  ManualClock clock_;
  LogFiles logs_ = LogFiles::open(directory_.path(), clock_).value();
};

TEST_F(LogFilesTest, TextIsAppendedAlsoToWhatWasThereBefore) {
  append("a", "one\n");
  logs_.forget("a");
  append("a", "two\n");
  EXPECT_EQ(directory_.log_of("a"), "one\ntwo\n");
}

TEST_F(LogFilesTest, NothingIsLostWhenThereAreMoreConsolesThanOpenFiles) {
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 200; ++i) append("guest-" + std::to_string(i), "line " + std::to_string(round) + "\n");
  }
  EXPECT_EQ(logs_.open_files(), LogFiles::kMaxOpen);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(directory_.log_of("guest-" + std::to_string(i)), "line 0\nline 1\nline 2\n");
}

TEST_F(LogFilesTest, TheLeastRecentlyUsedFileIsClosed) {
  for (size_t i = 0; i < LogFiles::kMaxOpen; ++i) append(std::to_string(i), "x");
  append("0", "x");
  append("new", "x");
  // A file that is open follows a rename; one that was closed is created anew.
  std::filesystem::rename(directory_.path() / "0.log", directory_.path() / "0.moved");
  std::filesystem::rename(directory_.path() / "1.log", directory_.path() / "1.moved");
  append("0", "y");
  append("1", "y");
  EXPECT_EQ(directory_.log_of("0"), "");
  EXPECT_EQ(directory_.log_of("1"), "y");
}

TEST_F(LogFilesTest, FullDiskLosesBytesCountsThemAndReportsOnceAMinute) {
  std::filesystem::create_symlink("/dev/full", directory_.path() / "link.log");
  std::filesystem::create_directory(directory_.path() / "full.log");
  append("full", "12345");
  EXPECT_EQ(logs_.lost_bytes(), 5u);
  EXPECT_EQ(logs_.reports(), 1u);
  append("link", "123");  // symbolic links are not followed
  EXPECT_EQ(logs_.lost_bytes(), 8u);
  EXPECT_EQ(logs_.reports(), 1u);
  clock_.advance_ns(LogFiles::kReportEveryNs - 1);
  append("full", "1");
  EXPECT_EQ(logs_.reports(), 1u);
  clock_.advance_ns(1);
  append("full", "1");
  EXPECT_EQ(logs_.reports(), 2u);
  append("fine", "others go on");
  EXPECT_EQ(directory_.log_of("fine"), "others go on");
  EXPECT_EQ(logs_.lost_bytes(), 10u);
}

TEST_F(LogFilesTest, FifoInPlaceOfALogHoldsNobodyUp) {
  ASSERT_EQ(mkfifo((directory_.path() / "fifo.log").c_str(), 0600), 0);
  append("fifo", "nobody reads");
  EXPECT_EQ(logs_.lost_bytes(), 12u);
}

TEST_F(LogFilesTest, OnlyPlainFileNamesAreNames) {
  for (const char* good : {"citizen-1", "a.b", "with space"}) EXPECT_TRUE(LogFiles::is_valid_name(good)) << good;
  for (const char* bad : {"", ".", "..", ".hidden", "a/b", "../x", "/etc/passwd"}) {
    EXPECT_FALSE(LogFiles::is_valid_name(bad)) << bad;
  }
}

TEST_F(LogFilesTest, DirectoryThatIsNoneIsAnErrorWithItsName) {
  const auto missing = LogFiles::open("/nonexistent/logs", clock_);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ENOENT);
  EXPECT_NE(missing.error().what.find("/nonexistent/logs"), std::string::npos);
}

}  // namespace
}  // namespace xenopolis::console
