// polis-xenstored with a machine: guests' rings and event channels, without guests.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>

#include "base/clock.h"
#include "event/consumer.h"
#include "machine/domain_memory.h"
#include "machine/machine.h"
#include "xen_abi/xenstore.h"

namespace xenopolis {
namespace {

constexpr uint64_t kPatienceNs = 20'000'000'000;
constexpr uint64_t kRamPages = 16;
constexpr Gfn kStoreGfn = 3;

std::string request(uint32_t type, const std::string& payload) {
  const xsd_sockmsg header{type, 1, 0, static_cast<uint32_t>(payload.size())};
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload;
}

template <class Condition>
bool wait_until(Condition&& holds) {
  for (const uint64_t start = MonotonicClock().now_ns(); MonotonicClock().now_ns() - start < kPatienceNs;) {
    if (holds()) return true;
    poll(nullptr, 0, 1);
  }
  return false;
}

class XenstoreMachineTest : public testing::TestWithParam<event::Abi> {
 protected:
  XenstoreMachineTest() : machine_(machine::Machine::create().value()), channels_(machine_) {}

  void SetUp() override {
    ASSERT_TRUE(event::create_dom0(channels_, GetParam()));
    char pattern[] = "/tmp/xenstore_machine_test.XXXXXX";
    directory_ = mkdtemp(pattern);
    socket_path_ = directory_ + "/socket";
    start_daemon();
    ASSERT_TRUE(wait_until([this] { return connect_socket(); }));
  }

  void TearDown() override {
    kill(daemon_, SIGTERM);
    int status = -1;
    waitpid(daemon_, &status, 0);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(std::filesystem::exists(socket_path_));
    std::filesystem::remove_all(directory_);
  }

  void start_daemon() {
    const std::vector<int> fds = machine_.fds();
    std::string doorbells;
    for (size_t i = 1; i < fds.size(); ++i) doorbells += fmt::format("{}{}", i == 1 ? "" : ",", fds[i]);
    const std::string memory = std::to_string(fds[0]);
    daemon_ = fork();
    ASSERT_GE(daemon_, 0);
    if (daemon_ != 0) return;
    for (const int fd : fds) fcntl(fd, F_SETFD, 0);
    execl(POLIS_XENSTORED, "polis-xenstored", "--socket", socket_path_.c_str(), "--machine-fd", memory.c_str(),
          "--doorbell-fds", doorbells.c_str(), "--log-level", "warn", nullptr);
    _exit(127);
  }

  bool connect_socket() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket_path_.c_str());
    socket_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }

  // Through the socket, as Dom0. The reply's payload.
  std::string ask(uint32_t type, const std::string& payload) {
    const std::string bytes = request(type, payload);
    EXPECT_EQ(write(socket_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    xsd_sockmsg header{};
    EXPECT_EQ(recv(socket_.get(), &header, sizeof header, MSG_WAITALL), static_cast<ssize_t>(sizeof header));
    std::string reply(header.len, '\0');
    EXPECT_EQ(recv(socket_.get(), reply.data(), reply.size(), MSG_WAITALL), static_cast<ssize_t>(reply.size()));
    return reply;
  }

  // A domain with a home of its own, whose store channel waits for Dom0.
  void add_guest(DomId domid) {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine_.frames().allocate_extent(kRamPages + 1).value();
    memory.ram_pages = kRamPages;
    event::DomainConfig config;
    config.shared_info = memory.page(kRamPages);
    ASSERT_TRUE(channels_.create_domain(domid, config));
    ports_[domid] = channels_.alloc_unbound(domid, domid, kDom0).value();
    const std::string home = fmt::format("/local/domain/{}", domid);
    EXPECT_EQ(ask(XS_MKDIR, home + '\0'), std::string("OK\0", 3));
    EXPECT_EQ(ask(XS_SET_PERMS, home + '\0' + fmt::format("n{}", domid) + '\0'), std::string("OK\0", 3));
  }
  std::string introduce(DomId domid) {
    return ask(XS_INTRODUCE, fmt::format("{}", domid) + '\0' + fmt::format("{}", kStoreGfn) + '\0' +
                                 fmt::format("{}", ports_[domid]) + '\0');
  }

  xenstore_domain_interface& ring(DomId domid) {
    return *reinterpret_cast<xenstore_domain_interface*>(machine::memory_of(domid).page(kStoreGfn));
  }
  void put(DomId domid, const std::string& bytes) {
    xenstore_domain_interface& page = ring(domid);
    const uint32_t at = page.req_prod;
    for (size_t i = 0; i < bytes.size(); ++i) page.req[MASK_XENSTORE_IDX(at + i)] = bytes[i];
    std::atomic_ref(page.req_prod).store(at + static_cast<uint32_t>(bytes.size()));
  }
  // The next `count` bytes that the guest hears.
  std::string take(DomId domid, size_t count) {
    xenstore_domain_interface& page = ring(domid);
    std::string bytes;
    EXPECT_TRUE(wait_until([&] {
      for (; bytes.size() < count && page.rsp_cons != std::atomic_ref(page.rsp_prod).load(); ++page.rsp_cons) {
        bytes.push_back(page.rsp[MASK_XENSTORE_IDX(page.rsp_cons)]);
      }
      return bytes.size() == count;
    }));
    return bytes;
  }

  machine::Machine machine_;
  event::EventChannels channels_;
  std::string directory_, socket_path_;
  pid_t daemon_ = -1;
  Fd socket_;
  std::map<DomId, Port> ports_;
};

const std::string kWrite = request(XS_WRITE, std::string("key\0value", 9));
const std::string kRead = request(XS_READ, std::string("key\0", 4));
constexpr size_t kWriteReplyBytes = 16 + 3, kReadReplyBytes = 16 + 5;

TEST_P(XenstoreMachineTest, ServesGuestsThroughTheirRings) {
  for (const DomId domid : std::initializer_list<DomId>{5, 6, 7}) {
    add_guest(domid);
    put(domid, kWrite);  // before anybody listens
    ASSERT_EQ(introduce(domid), std::string("OK\0", 3));
    EXPECT_EQ(take(domid, kWriteReplyBytes).substr(16), std::string("OK\0", 3));
  }
  for (const DomId domid : std::initializer_list<DomId>{7, 5, 6}) {
    for (int i = 0; i < 100; ++i) {
      put(domid, kRead);
      ASSERT_TRUE(channels_.send(domid, ports_[domid]));
      ASSERT_EQ(take(domid, kReadReplyBytes).substr(16), "value");
    }
  }
  EXPECT_EQ(ask(XS_READ, std::string("/local/domain/6/key\0", 20)), "value");
}

TEST_P(XenstoreMachineTest, ReleaseFreesTheChannelAndTheNodes) {
  add_guest(5);
  ASSERT_EQ(introduce(5), std::string("OK\0", 3));
  const auto status_of_store_port = [&] { return channels_.status(5, 5, ports_[5]).value().status; };
  EXPECT_EQ(status_of_store_port(), uint32_t{EVTCHNSTAT_interdomain});
  EXPECT_EQ(ask(XS_RELEASE, std::string("5\0", 2)), std::string("OK\0", 3));
  EXPECT_EQ(status_of_store_port(), uint32_t{EVTCHNSTAT_unbound});
  EXPECT_EQ(ask(XS_READ, std::string("/local/domain/5\0", 16)), std::string("ENOENT\0", 7));
  // A domain may be introduced again, and destroyed without being released.
  ASSERT_EQ(introduce(5), std::string("OK\0", 3));
  channels_.destroy_domain(5);
  EXPECT_EQ(ask(XS_RELEASE, std::string("5\0", 2)), std::string("OK\0", 3));
}

TEST_P(XenstoreMachineTest, WhatCannotBeIntroducedIsRefused) {
  add_guest(5);
  for (const std::string& payload : {std::string("5\0003\000999999999\0", 14), std::string("5\00099999\0001\0", 10),
                                     std::string("9\0003\0001\0", 6)}) {
    EXPECT_EQ(ask(XS_INTRODUCE, payload), std::string("EINVAL\0", 7)) << payload;
  }
  EXPECT_EQ(introduce(5), std::string("OK\0", 3));
}

TEST_P(XenstoreMachineTest, WhatIsSaidOfADomainBeforeItsIntroductionNeedsTheDomain) {
  const auto set_feature = [&](const std::string& domid) { return ask(kXsSetFeature, domid + '\0' + "2" + '\0'); };
  EXPECT_EQ(set_feature("5"), std::string("ENOENT\0", 7));
  add_guest(5);
  EXPECT_EQ(set_feature("5"), std::string("OK\0", 3));
  ASSERT_EQ(introduce(5), std::string("OK\0", 3));
  EXPECT_EQ(ring(5).server_features, 2u);
  EXPECT_EQ(set_feature("5"), std::string("EBUSY\0", 6));
}

TEST_P(XenstoreMachineTest, AGuestAsksForItsFeaturesAndWatchesWithADepth) {
  add_guest(5);
  ASSERT_EQ(introduce(5), std::string("OK\0", 3));
  const auto say = [&](const std::string& bytes) {
    put(5, bytes);
    ASSERT_TRUE(channels_.send(5, ports_[5]));
  };
  say(request(kXsGetFeature, ""));
  EXPECT_EQ(take(5, 16 + 2).substr(16), std::string("7\0", 2));
  say(request(XS_WATCH, std::string("a\0t\0000\0", 6)));
  const std::string event = std::string("a\0t\0", 4);
  EXPECT_EQ(take(5, 16 + 3 + 16 + event.size()).substr(16 + 3 + 16), event);
  say(kWrite);
  EXPECT_EQ(take(5, kWriteReplyBytes).substr(16), std::string("OK\0", 3));
}

INSTANTIATE_TEST_SUITE_P(Abis, XenstoreMachineTest, testing::Values(event::Abi::kTwoLevel, event::Abi::kFifo),
                         [](const auto& row) { return row.param == event::Abi::kFifo ? "Fifo" : "TwoLevel"; });

}  // namespace
}  // namespace xenopolis
