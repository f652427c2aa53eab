#include "console/log_directory.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "console/testing/fake_guest.h"

namespace xenopolis::console {
namespace {

class LogDirectoryTest : public testing::Test {
 protected:
  void put(const std::string& name, std::string_view text) { std::ofstream(directory_.path() / name) << text; }
  std::string get(const std::string& name) const {
    std::ifstream file(directory_.path() / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  LogDirectory open(unsigned keep = 3) { return LogDirectory::open(directory_.path(), keep).value(); }

  TemporaryDirectory directory_;
};

TEST_F(LogDirectoryTest, ADirectoryThatIsNotThereOrIsNoneIsAnError) {
  EXPECT_EQ(LogDirectory::open(directory_.path() / "absent", 1).error().code, ENOENT);
  put("file", "");
  EXPECT_EQ(LogDirectory::open(directory_.path() / "file", 1).error().code, ENOTDIR);
}

TEST_F(LogDirectoryTest, NamesThatLeaveTheDirectoryOrMeanAnotherConsoleAreInvalid) {
  for (const char* name : {"", ".", "..", ".hidden", "a/b", "/", "web:1"}) {
    EXPECT_FALSE(LogDirectory::is_valid_name(name)) << name;
  }
  EXPECT_FALSE(LogDirectory::is_valid_name(std::string_view("a\0b", 3)));
  for (const char* name : {"web", "web-1.log", "a b", "%s", "-rf"}) EXPECT_TRUE(LogDirectory::is_valid_name(name));
  EXPECT_EQ(LogDirectory::file_name("web", 0), "web.log");
  EXPECT_EQ(LogDirectory::file_name("web", 2), "web:2.log");
}

TEST_F(LogDirectoryTest, OnlyOwnerAndGroupMayRead) {
  ASSERT_TRUE(open().open_file("a.log"));
  struct stat status {};
  ASSERT_EQ(stat((directory_.path() / "a.log").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07, 0u);
}

TEST_F(LogDirectoryTest, LinksFifosAndDirectoriesAreNotWrittenTo) {
  put("target", "");
  std::filesystem::create_symlink(directory_.path() / "target", directory_.path() / "link.log");
  ASSERT_EQ(mkfifo((directory_.path() / "fifo.log").c_str(), 0600), 0);
  std::filesystem::create_directory(directory_.path() / "directory.log");
  EXPECT_EQ(open().open_file("link.log").error().code, ELOOP);
  EXPECT_EQ(open().open_file("fifo.log").error().code, EINVAL);
  EXPECT_EQ(open().open_file("directory.log").error().code, EISDIR);
}

TEST_F(LogDirectoryTest, RotationShiftsTheNumbersAndTheOldestGoes) {
  const LogDirectory logs = open(3);
  for (int i = 1; i <= 5; ++i) {
    put("a.log", std::to_string(i));
    ASSERT_TRUE(logs.rotate("a.log"));
  }
  EXPECT_EQ(names(), (std::vector<std::string>{"a.log.1", "a.log.2", "a.log.3"}));
  EXPECT_EQ(get("a.log.1") + get("a.log.2") + get("a.log.3"), "543");
}

TEST_F(LogDirectoryTest, ARotationThatEndedHalfwayCostsNoFile) {
  put("a.log", "new");
  put("a.log.2", "older");  // was a.log.1 when the daemon was killed
  put("a.log.3", "oldest");
  ASSERT_TRUE(open(3).rotate("a.log"));
  EXPECT_EQ(get("a.log.1"), "new");
  EXPECT_EQ(get("a.log.2"), "older");
  EXPECT_EQ(get("a.log.3"), "oldest");
}

TEST_F(LogDirectoryTest, NoneIsKeptIfNoneIsToBe) {
  put("a.log", "1");
  ASSERT_TRUE(open(0).rotate("a.log"));
  EXPECT_TRUE(names().empty());
}

TEST_F(LogDirectoryTest, TextGoesToTheEndAndTheFileKnowsWhetherItEndsALine) {
  const LogDirectory logs = open();
  put("a.log", "old ");
  const Fd file = logs.open_file("a.log").value();
  EXPECT_FALSE(log_file_ends_line(file, 4).value());
  ASSERT_TRUE(append_whole(file, 4, "new\n"));
  EXPECT_EQ(get("a.log"), "old new\n");
  EXPECT_EQ(log_file_status(file)->bytes, 8u);
  EXPECT_TRUE(log_file_ends_line(file, 8).value());
  EXPECT_TRUE(log_file_ends_line(file, 0).value());
  EXPECT_FALSE(log_file_status(file)->is_deleted);
  std::filesystem::remove(directory_.path() / "a.log");
  EXPECT_TRUE(log_file_status(file)->is_deleted);
}

TEST_F(LogDirectoryTest, ATextThatDoesNotFitLeavesTheFileAsItWas) {
  const LogDirectory logs = open();
  const Fd file = logs.open_file("a.log").value();
  ASSERT_TRUE(append_whole(file, 0, "old\n"));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto signal_before = signal(SIGXFSZ, SIG_IGN);
  const rlimit ten_bytes{10, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &ten_bytes);
  const Status written = append_whole(file, 4, "more than six bytes\n");  // six are written, then there is an error
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, signal_before);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, EFBIG);
  EXPECT_EQ(get("a.log"), "old\n");
}

}  // namespace
}  // namespace xenopolis::console
