#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace xenopolis {
namespace {

namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "file_XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(directory_); }

  int error_of(const fs::path& path) {
    return open_regular_file(path, "file").map([](const Fd&) {}).error().code;
  }

  fs::path directory_;
};

TEST_F(FileTest, RegularFilesAreReadWhole) {
  std::ofstream(directory_ / "text") << "some text";
  fs::create_symlink("text", directory_ / "link");
  for (const char* name : {"text", "link"}) {
    const Fd file = open_regular_file(directory_ / name, "file").value();
    const auto bytes = read_file(file.get(), name, "file", 9).value();
    EXPECT_EQ(std::string(bytes.begin(), bytes.end()), "some text") << name;
    EXPECT_EQ(read_file(file.get(), name, "file", 8).error().code, EFBIG);
  }
}

TEST_F(FileTest, HugeFileWithoutContentIsRefusedBySize) {
  const fs::path path = directory_ / "sparse";
  std::ofstream(path).close();
  fs::resize_file(path, uint64_t{1} << 40);
  EXPECT_EQ(read_file(open_regular_file(path, "file").value().get(), "sparse", "file", 1 << 20).error().code, EFBIG);
}

TEST_F(FileTest, WhatIsNoRegularFileIsRefusedAndNotEvenOpened) {
  const fs::path fifo = directory_ / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const Fd notices(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(inotify_add_watch(notices.get(), fifo.c_str(), IN_OPEN), 0);
  EXPECT_EQ(error_of(fifo), EINVAL);
  char notice[256];
  EXPECT_EQ(read(notices.get(), notice, sizeof notice), -1) << "it was opened";
  EXPECT_EQ(error_of("/dev/zero"), EINVAL);
  EXPECT_EQ(error_of(directory_), EINVAL);
  EXPECT_EQ(error_of(directory_ / "missing"), ENOENT);
}

}  // namespace
}  // namespace xenopolis
