// Logs on a file system that is full.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "console/testing/log_check.h"
#include "console/testing/log_session.h"

namespace xenopolis::console {
namespace {

namespace fs = std::filesystem;

constexpr int kNotAllowed = 77;
constexpr DomId kConsoles = 20;

std::string name_of(DomId domid) {
  return fmt::format("d{}", domid);
}

std::string contents(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// In a child with a file system of 1 MiB; what is wrong is its exit code.
void fill_a_disk(const char* directory) {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(kNotAllowed);
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(kNotAllowed);
  if (mount("none", directory, "tmpfs", 0, "size=1m") != 0) _exit(kNotAllowed);
  LogSession session({.directory = directory}, memory_file(), {.console_bytes = 16 * 1024});
  std::map<DomId, uint64_t> said;
  const auto all_say = [&](size_t bytes) {
    for (DomId i = 1; i <= kConsoles; ++i) {
      session.say(i, text_of(i, said[i], bytes));
      said[i] += bytes;
      session.log().turn();
    }
    session.pass_ms(200);
    session.settle();
  };
  for (DomId i = 1; i <= kConsoles; ++i) session.attach(i, name_of(i));

  all_say(5000);
  if (session.log().failing_logs() != 0 || session.log().lost_bytes() != 0) _exit(1);
  for (int round = 0; round < 20; ++round) all_say(4000);  // 1.6 MB in all
  if (session.log().failing_logs() < kConsoles / 2 || session.log().lost_bytes() == 0) _exit(2);
  if (session.log().reports() != 1) _exit(3);

  // There is room again, for what the streams still hold.
  if (mount("none", directory, "tmpfs", MS_REMOUNT, "size=64m") != 0) _exit(kNotAllowed);
  session.pass_ms(2000);
  session.settle();
  if (session.log().failing_logs() != 0) _exit(4);
  all_say(4000);

  uint64_t dropped = 0;
  for (DomId i = 1; i <= kConsoles; ++i) {
    const LogCheck check = check_log(i, contents(fs::path(directory) / (name_of(i) + ".log")));
    if (!check.fault.empty()) {
      std::fputs((check.fault + "\n").c_str(), stderr);
      _exit(5);
    }
    if (check.covered != said[i]) _exit(6);
    dropped += check.dropped;
  }
  _exit(dropped == session.log().lost_bytes() ? 0 : 7);
}

TEST(LogDiskTest, AFullDiskIsSurvivedReportedAndMarkedInEachLog) {
  const TemporaryDirectory directory;
  const pid_t child = fork();
  if (child == 0) fill_a_disk(directory.path().c_str());
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  if (WEXITSTATUS(status) == kNotAllowed) GTEST_SKIP() << "may not mount a file system";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace xenopolis::console
