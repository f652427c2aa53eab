// For tests: a machine with domains that do not run, and polis-xenstored, started as polisd starts it.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/fd.h"
#include "event/consumer.h"
#include "machine/domain_memory.h"
#include "machine/machine.h"
#include "xen_abi/xenstore.h"

namespace xenopolis {

class XenstoreMachine {
 public:
  static constexpr Gfn kStoreGfn = 0;
  static constexpr uint64_t kRamPages = 1;

  explicit XenstoreMachine(event::Abi abi) : machine_(machine::Machine::create().value()), channels_(machine_) {
    EXPECT_TRUE(event::create_dom0(channels_, abi));
    char pattern[] = "/tmp/xenstore_machine.XXXXXX";
    directory_ = mkdtemp(pattern);
    socket_path_ = directory_ + "/socket";
  }
  ~XenstoreMachine() {
    if (daemon_ > 0) kill_daemon();
    std::filesystem::remove_all(directory_);
  }

  event::EventChannels& channels() { return channels_; }

  void start_daemon(int journal) {
    const std::vector<int> fds = machine_.fds();
    std::string doorbells;
    for (size_t i = 1; i < fds.size(); ++i) doorbells += fmt::format("{}{}", i == 1 ? "" : ",", fds[i]);
    const std::string memory = fmt::to_string(fds[0]), journal_fd = fmt::to_string(journal);
    daemon_ = fork();
    ASSERT_GE(daemon_, 0);
    if (daemon_ != 0) return;
    for (const int fd : fds) fcntl(fd, F_SETFD, 0);
    fcntl(journal, F_SETFD, 0);
    execl(POLIS_XENSTORED, "polis-xenstored", "--socket", socket_path_.c_str(), "--machine-fd", memory.c_str(),
          "--doorbell-fds", doorbells.c_str(), "--journal-fd", journal_fd.c_str(), "--log-level", "warn", nullptr);
    _exit(127);
  }
  // False: it had ended by itself.
  bool kill_daemon() {
    int status = 0;
    kill(daemon_, SIGKILL);
    const bool waited = waitpid(std::exchange(daemon_, -1), &status, 0) > 0;
    return waited && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  Fd connect_socket() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket_path_.c_str());
    Fd connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
    return connection;
  }

  // A domain whose store channel waits for Dom0.
  Port create_domain(DomId domid) {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine_.frames().allocate_extent(kRamPages + 1).value();
    memory.ram_pages = kRamPages;
    event::DomainConfig config;
    config.shared_info = memory.page(kRamPages);
    EXPECT_TRUE(channels_.create_domain(domid, config));
    return channels_.alloc_unbound(domid, domid, kDom0).value();
  }
  static xenstore_domain_interface& ring(DomId domid) {
    return *reinterpret_cast<xenstore_domain_interface*>(machine::memory_of(domid).page(kStoreGfn));
  }
  static shared_info& info(DomId domid) {
    return *reinterpret_cast<shared_info*>(machine::memory_of(domid).page(kRamPages));
  }

 private:
  machine::Machine machine_;
  event::EventChannels channels_;
  std::string directory_, socket_path_;
  pid_t daemon_ = -1;
};

}  // namespace xenopolis
