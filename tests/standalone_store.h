// For tests: polis-xenstored without a machine, and Debian's libxenstore to talk to it.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "temporary_directory.h"

extern "C" {
#include <xenstore.h>
}

namespace xenopolis::testing {

struct Free {
  void operator()(void* memory) const { free(memory); }
};
struct CloseHandle {
  void operator()(xs_handle* handle) const { xs_close(handle); }
};
using Handle = std::unique_ptr<xs_handle, CloseHandle>;

// One daemon in a directory of its own; this process's libxenstore finds it.
class StandaloneStore {
 public:
  static constexpr uint64_t kPatienceNs = 20'000'000'000;

  StandaloneStore() {
    setenv("XENSTORED_PATH", socket_path().c_str(), 1);
    daemon_ = fork();
    if (daemon_ == 0) {
      execl(POLIS_XENSTORED, "polis-xenstored", "--socket", socket_path().c_str(), "--standalone", "--log-level",
            "warn", nullptr);
      _exit(127);
    }
    const uint64_t give_up_ns = MonotonicClock().now_ns() + kPatienceNs;
    while (!open() && MonotonicClock().now_ns() < give_up_ns) poll(nullptr, 0, 1);
  }
  ~StandaloneStore() {
    kill(daemon_, SIGTERM);
    int status = -1;
    waitpid(daemon_, &status, 0);
    EXPECT_EQ(status, 0);
  }
  StandaloneStore(const StandaloneStore&) = delete;
  StandaloneStore& operator=(const StandaloneStore&) = delete;

  std::string socket_path() const { return directory_.path() + "/socket"; }
  static Handle open() { return Handle(xs_open(0)); }

 private:
  TemporaryDirectory directory_;
  pid_t daemon_ = -1;
};

}  // namespace xenopolis::testing
