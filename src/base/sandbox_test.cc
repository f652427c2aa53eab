#include "base/sandbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

namespace xenopolis::sandbox {
namespace {

// What becomes of a child that does it; 0..: exit status, -N: killed by signal N.
int end_of_child(const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// A line of /proc/self/status, or of somebody else's.
std::string status_line(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":\t")) return line.substr(key.size() + 2);
  }
  return "";
}

constexpr int kFine = 0, kOddly = 99;

TEST(SandboxTest, PrivilegesAreGoneForGood) {
  EXPECT_EQ(end_of_child([] {
              if (!drop_privileges()) return 1;
              if (status_line("NoNewPrivs") != "1") return 2;
              for (const char* set : {"CapEff", "CapPrm", "CapInh", "CapAmb"}) {
                if (status_line(set) != "0000000000000000") return 3;
              }
              rlimit core{};
              if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0) return 4;
              return kFine;
            }),
            kFine);
}

TEST(SandboxTest, CapabilitiesThatAreNamedStay) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, who has capabilities";
  EXPECT_EQ(end_of_child([] {
              if (!drop_privileges({CAP_DAC_OVERRIDE})) return 1;
              return status_line("CapEff") == "0000000000000002" ? kFine : 2;
            }),
            kFine);
}

TEST(SandboxTest, PathsAreForgottenAndDescriptorsWorkOn) {
  EXPECT_EQ(end_of_child([] {
              const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
              if (!drop_privileges()) return 1;
              const Result<bool> forgotten = forget_paths();
              if (!forgotten) return 2;
              if (!*forgotten) return kFine;  // this kernel cannot
              if (open("/proc/self/exe", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES) return 3;
              if (open("/tmp/of_the_sandbox_test", O_RDWR | O_CREAT | O_CLOEXEC, 0600) >= 0) return 4;
              char byte;
              return read(file, &byte, 1) == 1 ? kFine : 5;
            }),
            kFine);
}

// Each does what a filter is there against.
struct Attempt {
  const char* name;
  long (*call)();
};
constexpr Attempt kAttempts[] = {
    {"execve", [] { return syscall(SYS_execve, "/bin/true", nullptr, nullptr); }},
    {"socket", [] { return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }},
    {"ptrace", [] { return syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0); }},
    {"mount", [] { return syscall(SYS_mount, "none", "/nowhere", "tmpfs", 0, nullptr); }},
    {"bpf", [] { return syscall(SYS_bpf, 0, nullptr, 0); }},
    {"unshare", [] { return syscall(SYS_unshare, 0); }},
};

TEST(SandboxTest, FilterEndsTheProcessAtWhatItDoesNotName) {
  if (!filters_are_enforced()) GTEST_SKIP() << "sanitizers make system calls of their own";
  for (const Attempt& attempt : kAttempts) {
    EXPECT_EQ(end_of_child([&] {
                if (!drop_privileges()) return 1;
                auto filter = SystemCallFilter::create(SystemCallFilter::Others::kEndTheProcess);
                if (!filter || !filter->allow(SYS_exit_group) || !filter->enforce()) return 2;
                attempt.call();
                return kOddly;
              }),
              -SIGSYS)
        << attempt.name;
  }
}

TEST(SandboxTest, FilterTellsArgumentsApart) {
  if (!filters_are_enforced()) GTEST_SKIP() << "sanitizers make system calls of their own";
  EXPECT_EQ(end_of_child([] {
              if (!drop_privileges()) return 1;
              auto filter = SystemCallFilter::create(SystemCallFilter::Others::kAreAllowed);
              if (!filter || !filter->refuse(SYS_getpriority, ENOTTY, {{0, 1, 0xff}, {1, 7}}) || !filter->enforce()) {
                return 2;
              }
              if (syscall(SYS_getpriority, 0x101, 7) != -1 || errno != ENOTTY) return 3;
              if (syscall(SYS_getpriority, PRIO_PROCESS, 0) < 0) return 4;
              if (syscall(SYS_getpriority, 1, 8) == -1 && errno == ENOTTY) return 5;
              return kFine;
            }),
            kFine);
}

TEST(SandboxTest, DaemonsAreRefusedWhatTheyNeverDoAndGoOn) {
  if (!filters_are_enforced()) GTEST_SKIP() << "sanitizers make system calls of their own";
  for (const Attempt& attempt : kAttempts) {
    EXPECT_EQ(end_of_child([&] {
                if (!drop_privileges() || !refuse_what_daemons_never_do(false)) return 1;
                if (attempt.call() >= 0 || errno != EPERM) return 2;
                const int unix_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                return unix_socket >= 0 && open("/proc/self/status", O_RDONLY | O_CLOEXEC) >= 0 ? kFine : 3;
              }),
              kFine)
        << attempt.name;
  }
  EXPECT_EQ(end_of_child([] {
              if (!drop_privileges() || !refuse_what_daemons_never_do(true)) return 1;
              execl("/bin/true", "true", nullptr);
              return 2;
            }),
            kFine);
}

}  // namespace
}  // namespace xenopolis::sandbox
