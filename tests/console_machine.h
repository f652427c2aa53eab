// For tests: a machine with domains that do not run, and polis-consoled, started and told of them as polisd does.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "console/console_protocol.h"
#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"
#include "event/consumer.h"
#include "machine/domain_memory.h"
#include "machine/machine.h"

namespace xenopolis {

class ConsoleMachine {
 public:
  static constexpr Gfn kConsoleGfn = 0;
  static constexpr uint64_t kRamPages = 1;
  static constexpr uint64_t kPatienceNs = 30'000'000'000;

  ConsoleMachine() : machine_(machine::Machine::create().value()), channels_(machine_) {
    EXPECT_TRUE(event::create_dom0(channels_, event::Abi::kFifo));
  }
  ~ConsoleMachine() {
    if (daemon_ > 0) kill_daemon();
  }

  event::EventChannels& channels() { return channels_; }
  const Fd& history() const { return history_; }
  std::filesystem::path log_of(DomId domid) const { return directory_.path() / (name_of(domid) + ".log"); }
  pid_t daemon() const { return daemon_; }

  // A domain whose console's channel waits for Dom0; the next daemon will be told of it.
  void create_domain(DomId domid) {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine_.frames().allocate_extent(kRamPages + 1).value();
    memory.ram_pages = kRamPages;
    event::DomainConfig config;
    config.shared_info = memory.page(kRamPages);
    EXPECT_TRUE(channels_.create_domain(domid, config));
    ports_.push_back(channels_.alloc_unbound(domid, domid, kDom0).value());
    domids_.push_back(domid);
  }
  static xencons_interface& ring(DomId domid) {
    return *reinterpret_cast<xencons_interface*>(machine::memory_of(domid).page(kConsoleGfn));
  }
  static std::string name_of(DomId domid) { return fmt::format("guest-{}", domid); }
  // The domains are those from 1 on.
  void send_event(DomId domid) { EXPECT_TRUE(channels_.send(domid, ports_[domid - 1])); }

  void start_daemon() {
    int sockets[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    control_ = Fd(sockets[0]);
    const Fd theirs(sockets[1]);
    const std::vector<int> fds = machine_.fds();
    std::string doorbells;
    for (size_t i = 1; i < fds.size(); ++i) doorbells += fmt::format("{}{}", i == 1 ? "" : ",", fds[i]);
    const std::string memory = fmt::to_string(fds[0]), control = fmt::to_string(theirs.get()),
                      history = fmt::to_string(history_.get()), directory = directory_.path().string(),
                      socket = (directory_.path() / "console.sock").string();
    daemon_ = fork();
    ASSERT_GE(daemon_, 0);
    if (daemon_ != 0) return;
    for (const int fd : fds) fcntl(fd, F_SETFD, 0);
    for (const int fd : {theirs.get(), history_.get()}) fcntl(fd, F_SETFD, 0);
    execl(POLIS_CONSOLED, "polis-consoled", "--machine-fd", memory.c_str(), "--doorbell-fds", doorbells.c_str(),
          "--control-fd", control.c_str(), "--history-fd", history.c_str(), "--log-dir", directory.c_str(), "--socket",
          socket.c_str(), "--log-level", "warn", nullptr);
    _exit(127);
  }
  // Tells it of all domains and takes its answers, until `end_ns` at most. Says how many it has attached.
  unsigned attach_all(uint64_t end_ns = MonotonicClock().now_ns() + kPatienceNs) {
    size_t told = 0, answered = 0;
    unsigned attached = 0;
    while (answered < domids_.size()) {
      const uint64_t now = MonotonicClock().now_ns();
      if (now >= end_ns) break;
      if (told < domids_.size()) {
        console::ConsoleRequest request = console::FakeLink::request({domids_[told], 0}, name_of(domids_[told]));
        request.remote_port = ports_[told];
        request.gfn = kConsoleGfn;
        if (send(control_.get(), &request, sizeof request, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof request) ++told;
      }
      const short wanted = told < domids_.size() ? POLLIN | POLLOUT : POLLIN;
      pollfd ready{control_.get(), wanted, 0};
      poll(&ready, 1, static_cast<int>((end_ns - now) / 1'000'000 + 1));
      console::ConsoleReply reply;
      ssize_t size = 0;
      while ((size = recv(control_.get(), &reply, sizeof reply, MSG_DONTWAIT)) == sizeof reply) {
        ++answered;
        attached += reply.kind == console::ConsoleReplyKind::kAttached ? 1 : 0;
      }
      if (size == 0) break;
    }
    return attached;
  }
  // False: it had ended by itself.
  bool kill_daemon() {
    int status = 0;
    kill(daemon_, SIGKILL);
    const bool waited = waitpid(std::exchange(daemon_, -1), &status, 0) > 0;
    return waited && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

 private:
  machine::Machine machine_;
  event::EventChannels channels_;
  console::TemporaryDirectory directory_;
  const Fd history_ = console::memory_file();
  Fd control_;
  std::vector<DomId> domids_;
  std::vector<Port> ports_;  // in the guests
  pid_t daemon_ = -1;
};

}  // namespace xenopolis
