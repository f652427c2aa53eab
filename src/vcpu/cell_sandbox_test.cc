#include "vcpu/cell_sandbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/sandbox.h"
#include "machine/doorbell.h"

namespace xenopolis::vcpu {
namespace {

constexpr unsigned long kKnownIoctl = 0xae80, kOtherIoctl = 0x5412;  // KVM_RUN, TIOCSTI
constexpr int kAllowed = 0, kRefused = 1;

class OnlyIoctls final : public Backend {
 public:
  explicit OnlyIoctls(bool is_flat) : is_flat_(is_flat) {}
  std::string_view name() const override { return "tested"; }
  bool flat() const override { return is_flat_; }
  std::vector<unsigned long> ioctls() const override { return {kKnownIoctl}; }
  Result<std::unique_ptr<Vcpu>> create_vcpu(domain::PvVcpu&, const machine::DomainMemory&,
                                            const builder::BuiltDomain&) override {
    return fail(ENOTSUP, "tested");
  }

 private:
  bool is_flat_;
};

class CellSandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!sandbox::filters_are_enforced()) GTEST_SKIP() << "sanitizers make system calls of their own";
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    control_ = Fd(ends[0]);
    other_ = Fd(ends[1]);
    bell_ = Fd(eventfd(0, EFD_CLOEXEC));
    image_ = Fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  }

  // kAllowed also if it fails with anything but EPERM, kRefused, or minus the signal that ended the process.
  template <class Call>
  int in_sandbox(Call call, bool is_flat = false) {
    const pid_t child = fork();
    if (child == 0) {
      const int bells[] = {bell_.get()};
      if (!enter_sandbox(OnlyIoctls(is_flat), control_.get(), bells)) _exit(2);
      errno = 0;
      const long result = call();
      _exit(result == -1 && errno == EPERM ? kRefused : kAllowed);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

  Fd control_, other_, bell_, image_;
};

TEST_F(CellSandboxTest, WhatRunningGuestsTakesIsAllowed) {
  char byte = 0;
  const uint64_t one = 1;
  iovec data{&byte, 1};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  EXPECT_EQ(in_sandbox([&] { return send(control_.get(), &byte, 1, MSG_DONTWAIT); }), kAllowed);
  EXPECT_EQ(in_sandbox([&] { return recvmsg(control_.get(), &header, MSG_DONTWAIT); }), kAllowed);
  EXPECT_EQ(in_sandbox([&] { return write(bell_.get(), &one, sizeof one) == 8 ? 0 : -1; }), kAllowed);
  EXPECT_EQ(in_sandbox([&] { return pread(image_.get(), &byte, 1, 0) == 1 ? 0 : -1; }), kAllowed);
  EXPECT_EQ(in_sandbox([&] { return ioctl(bell_.get(), kKnownIoctl, 0); }), kAllowed);
  EXPECT_EQ(in_sandbox([&] {
              return mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
            }),
            kAllowed);
  // A cell that runs elsewhere is kicked; the number cannot be anybody's.
  EXPECT_EQ(
      in_sandbox([&] { return syscall(SYS_tgkill, 0x7fff'fff0, 0x7fff'fff0, machine::Doorbells::kick_signal()); }),
      kAllowed);
}

TEST_F(CellSandboxTest, AbortEndsTheProcessAsEver) {
  EXPECT_EQ(in_sandbox([]() -> long { std::abort(); }), -SIGABRT);
}

TEST_F(CellSandboxTest, PathsAreRefused) {
  EXPECT_EQ(in_sandbox([] { return open("/dev/kvm", O_RDWR | O_CLOEXEC); }), kRefused);
  EXPECT_EQ(in_sandbox([] { return open("/tmp/of_a_cell", O_RDWR | O_CREAT | O_CLOEXEC, 0600); }), kRefused);
  EXPECT_EQ(in_sandbox([] { return access("/etc/passwd", R_OK); }), kRefused);
}

TEST_F(CellSandboxTest, EverythingElseEndsTheCell) {
  char byte = 0;
  const uint64_t one = 1;
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  EXPECT_EQ(in_sandbox([] { return syscall(SYS_execve, "/bin/true", nullptr, nullptr); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([] { return syscall(SYS_fork); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([] { return socket(AF_UNIX, SOCK_STREAM, 0); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([] { return socket(AF_INET, SOCK_STREAM, 0); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([] { return ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([] { return kill(getppid(), SIGKILL); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([] { return syscall(SYS_tgkill, getppid(), getppid(), SIGKILL); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([] { return syscall(SYS_tgkill, 0x7fff'fff0, 0x7fff'fff0, SIGABRT); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([&] { return unlink("/tmp/of_a_cell"); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([&] { return ioctl(bell_.get(), kOtherIoctl, &byte); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([&] { return write(pipe_ends[1], &one, sizeof one); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([&] { return send(other_.get(), &byte, 1, MSG_DONTWAIT); }), -SIGSYS);
  EXPECT_EQ(in_sandbox([&] { return recv(other_.get(), &byte, 1, MSG_DONTWAIT); }), -SIGSYS);
}

TEST_F(CellSandboxTest, OnlyTheHostedBackendMakesCode) {
  const auto executable = [] {
    return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
  };
  EXPECT_EQ(in_sandbox(executable, false), -SIGSYS);
  EXPECT_EQ(in_sandbox(executable, true), kAllowed);
}

}  // namespace
}  // namespace xenopolis::vcpu
