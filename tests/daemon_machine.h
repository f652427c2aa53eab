// For tests: a machine with domains that do not run, and one of Dom0's daemons, started as polisd starts it.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "event/consumer.h"
#include "machine/domain_memory.h"
#include "machine/machine.h"
#include "temporary_directory.h"

namespace xenopolis {

class DaemonMachine {
 public:
  static constexpr uint64_t kRamPages = 1;

  event::EventChannels& channels() { return channels_; }
  pid_t daemon() const { return daemon_; }

  // A domain of which a channel waits for Dom0: its port in the domain.
  Port create_domain(DomId domid) {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine_.frames().allocate_extent(kRamPages + 1).value();
    memory.ram_pages = kRamPages;
    event::DomainConfig config;
    config.shared_info = memory.page(kRamPages);
    EXPECT_TRUE(channels_.create_domain(domid, config));
    return channels_.alloc_unbound(domid, domid, kDom0).value();
  }
  static shared_info& info(DomId domid) {
    return *reinterpret_cast<shared_info*>(machine::memory_of(domid).page(kRamPages));
  }

  // SIGKILL. False: it had ended by itself.
  bool kill_daemon() {
    int status = 0;
    kill(daemon_, SIGKILL);
    const bool waited = waitpid(std::exchange(daemon_, -1), &status, 0) > 0;
    return waited && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

 protected:
  explicit DaemonMachine(event::Abi abi) : machine_(machine::Machine::create().value()), channels_(machine_) {
    EXPECT_TRUE(event::create_dom0(channels_, abi));
  }
  ~DaemonMachine() {
    if (daemon_ > 0) kill_daemon();
  }

  const std::string& directory() const { return directory_.path(); }

  // It inherits the machine, and `inherited`, which have the same numbers there.
  void start(const char* program, std::vector<std::string> arguments, std::initializer_list<int> inherited) {
    std::vector<int> fds = machine_.fds();
    arguments.insert(arguments.begin(), program);
    arguments.insert(arguments.end(),
                     {"--machine-fd", fmt::to_string(fds[0]), "--log-level", "warn", "--doorbell-fds"});
    arguments.push_back(fmt::format("{}", fmt::join(fds.begin() + 1, fds.end(), ",")));
    fds.insert(fds.end(), inherited);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    daemon_ = fork();
    ASSERT_GE(daemon_, 0);
    if (daemon_ != 0) return;
    for (const int fd : fds) fcntl(fd, F_SETFD, 0);
    execv(program, argv.data());
    _exit(127);
  }

 private:
  testing::TemporaryDirectory directory_;
  machine::Machine machine_;
  event::EventChannels channels_;
  pid_t daemon_ = -1;
};

}  // namespace xenopolis
