// For tests: a machine with domains that do not run, and polis-consoled, which is told of them as by polisd.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "console/console_protocol.h"
#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"
#include "daemon_machine.h"

namespace xenopolis {

class ConsoleMachine : public DaemonMachine {
 public:
  static constexpr Gfn kConsoleGfn = 0;
  static constexpr uint64_t kPatienceNs = 30'000'000'000;

  ConsoleMachine() : DaemonMachine(event::Abi::kFifo) {}

  const Fd& history() const { return history_; }
  std::filesystem::path log_of(DomId domid) const { return directory() + "/" + name_of(domid) + ".log"; }

  // A domain whose console's channel waits for Dom0; the next daemon will be told of it.
  void create_domain(DomId domid) {
    ports_.push_back(DaemonMachine::create_domain(domid));
    domids_.push_back(domid);
  }
  static xencons_interface& ring(DomId domid) {
    return *reinterpret_cast<xencons_interface*>(machine::memory_of(domid).page(kConsoleGfn));
  }
  static std::string name_of(DomId domid) { return fmt::format("guest-{}", domid); }
  // The domains are those from 1 on.
  void send_event(DomId domid) { EXPECT_TRUE(channels().send(domid, ports_[domid - 1])); }

  void start_daemon() {
    int sockets[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    control_ = Fd(sockets[0]);
    const Fd theirs(sockets[1]);
    start(POLIS_CONSOLED,
          {"--control-fd", fmt::to_string(theirs.get()), "--history-fd", fmt::to_string(history_.get()), "--log-dir",
           directory(), "--socket", directory() + "/console.sock"},
          {theirs.get(), history_.get()});
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

 private:
  const Fd history_ = console::memory_file();
  Fd control_;
  std::vector<DomId> domids_;
  std::vector<Port> ports_;  // in the guests
};

}  // namespace xenopolis
