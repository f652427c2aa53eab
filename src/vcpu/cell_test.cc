// polis-cell as polisd sees it: a process, a socket, replies.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/sandbox.h"
#include "domain/domain_record.h"
#include "domain/memory_layout.h"
#include "grant/grant_table.h"
#include "machine/domain_memory.h"
#include "vcpu/cell_protocol.h"

namespace xenopolis::vcpu {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kCell = 3;
constexpr uint64_t kMemoryPages = 1024;

class CellTest : public ::testing::TestWithParam<const char*> {
 protected:
  CellTest() : machine_(machine::Machine::create(64 * machine::kGiB).value()), events_(machine_), grants_(machine_) {}
  ~CellTest() override {
    if (pid_ > 0) kill(pid_, SIGKILL);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }

  void SetUp() override {
    if (std::string_view(GetParam()) == "kvm" && access("/dev/kvm", R_OK | W_OK) != 0) {
      if (std::getenv("REQUIRE_KVM") != nullptr) FAIL() << "/dev/kvm: " << std::strerror(errno);
      GTEST_SKIP() << "/dev/kvm: " << std::strerror(errno);
    }
    spawn();
    ASSERT_EQ(receive().kind, CellReplyKind::kReady);
  }

  void spawn() {
    int sockets[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
    const std::vector<int> fds = machine_.fds();
    const std::string doorbells = fmt::format("{}", fmt::join(fds.begin() + 1, fds.end(), ","));
    std::vector<std::string> arguments{POLIS_CELL,
                                       "--machine-fd",
                                       std::to_string(fds[0]),
                                       "--doorbell-fds",
                                       doorbells,
                                       "--control-fd",
                                       std::to_string(sockets[1]),
                                       "--cell",
                                       std::to_string(kCell),
                                       "--backend",
                                       GetParam()};
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      for (const int fd : fds) fcntl(fd, F_SETFD, 0);
      close(sockets[0]);
      std::vector<char*> argv;
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(POLIS_CELL, argv.data());
      _exit(127);
    }
    close(sockets[1]);
    control_ = Fd(sockets[0]);
  }

  // As polisd prepares a domain.
  void prepare(DomId domid, uint32_t slot, const std::string& command_line = "", uint64_t pages = kMemoryPages) {
    domain::DomainRecord& record = domain::record_of(domid);
    record.domid = domid;
    record.ram_pages = pages;
    record.cell = kCell;
    record.cell_slot = slot;
    std::strcpy(record.name, "tested");
    std::memset(record.command_line, 0, sizeof record.command_line);
    command_line.copy(record.command_line, sizeof record.command_line - 1);
    record.state.store(domain::State::kBuilding);
    const domain::MemoryLayout layout{record.ram_pages};
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine_.frames().allocate_extent(layout.total_pages()).value();
    memory.ram_pages = record.ram_pages;
    event::DomainConfig config;
    config.shared_info = memory.page(layout.shared_info());
    ASSERT_TRUE(events_.create_domain(domid, config).has_value());
    grants_.create_domain(domid, layout.grant_frame(0), domain::kMaxGrantFrames);
    record.store_port = events_.alloc_unbound(kDom0, domid, kDom0).value();
    record.console_port = events_.alloc_unbound(kDom0, domid, kDom0).value();
  }

  // With a descriptor of each of `files`, which are opened here.
  void request(CellRequestKind kind, DomId domid = 0, uint32_t slot = 0, const std::vector<std::string>& files = {}) {
    CellRequest message{};
    message.kind = kind;
    message.domid = domid;
    message.slot = slot;
    std::vector<Fd> fds;
    for (const std::string& file : files) fds.push_back(open_regular_file(file, "file of the test").value());
    iovec data{&message, sizeof message};
    alignas(cmsghdr) char control[256];
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    if (!fds.empty()) {
      header.msg_control = control;
      header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      *rights = {.cmsg_len = CMSG_LEN(fds.size() * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
      for (size_t i = 0; i < fds.size(); ++i) {
        const int fd = fds[i].get();
        std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
      }
    }
    ASSERT_EQ(sendmsg(control_.get(), &header, 0), static_cast<ssize_t>(sizeof message));
    machine_.doorbells().ring_attention(kCell);
  }
  void build(DomId domid, uint32_t slot, const std::string& guest) {
    request(CellRequestKind::kBuild, domid, slot, {image_of(guest)});
  }
  static std::string image_of(const std::string& guest) { return XENOPOLIS_GUEST_DIR "/" + guest; }

  CellReply receive() {
    CellReply reply{};
    pollfd ready{control_.get(), POLLIN, 0};
    EXPECT_EQ(poll(&ready, 1, 20'000), 1) << "the cell does not answer";
    EXPECT_EQ(recv(control_.get(), &reply, sizeof reply, MSG_DONTWAIT), static_cast<ssize_t>(sizeof reply));
    return reply;
  }

  machine::Machine machine_;
  event::EventChannels events_;
  grant::GrantTables grants_;
  Fd control_;
  pid_t pid_ = -1;
};

INSTANTIATE_TEST_SUITE_P(, CellTest, ::testing::Values("hosted", "kvm"), [](const auto& test) { return test.param; });

TEST_P(CellTest, DomainIsBuiltRunsAndItsEndIsReported) {
  prepare(5, 0, "here");
  build(5, 0, "hello");
  const CellReply built = receive();
  ASSERT_EQ(built.kind, CellReplyKind::kBuilt) << built.text;
  EXPECT_EQ(built.domid, 5);
  EXPECT_EQ(built.console_gfn, domain::record_of(5).console_gfn);
  EXPECT_EQ(built.store_gfn, domain::record_of(5).store_gfn);
  const CellReply end = receive();
  EXPECT_EQ(end.kind, CellReplyKind::kShutdown);
  EXPECT_EQ(end.domid, 5);
  EXPECT_EQ(end.shutdown_reason, static_cast<uint32_t>(SHUTDOWN_poweroff));
  EXPECT_EQ(domain::record_of(5).state.load(), domain::State::kShutdown);
  const auto* ring = reinterpret_cast<xencons_interface*>(machine::memory_of(5).page(built.console_gfn));
  EXPECT_THAT(std::string(ring->out, ring->out_prod), HasSubstr("[here]"));
}

TEST_P(CellTest, BadImageIsRefusedWithTheReasonAndTheSlotStaysFree) {
  prepare(5, 0);
  request(CellRequestKind::kBuild, 5, 0);
  CellReply reply = receive();
  EXPECT_EQ(reply.kind, CellReplyKind::kBuildFailed);
  EXPECT_EQ(reply.error, EBADF);
  std::strcpy(domain::record_of(5).configuration.image, "/somewhere/kernel");
  build(5, 0, "CTestTestfile.cmake");
  reply = receive();
  EXPECT_EQ(reply.kind, CellReplyKind::kBuildFailed);
  EXPECT_EQ(reply.error, ENOEXEC);
  EXPECT_THAT(reply.text, HasSubstr("/somewhere/kernel: not an ELF file"));
  build(5, 0, "hello");
  EXPECT_EQ(receive().kind, CellReplyKind::kBuilt);
}

TEST_P(CellTest, ImageThatDoesNotFitIsRefused) {
  prepare(5, 0, "", 4);
  build(5, 0, "hello");
  const CellReply reply = receive();
  EXPECT_EQ(reply.kind, CellReplyKind::kBuildFailed);
  EXPECT_EQ(reply.error, EFBIG);
}

TEST_P(CellTest, OccupiedOrWildSlotsAreRefused) {
  prepare(5, 0);
  prepare(6, 0);
  build(5, 0, "spin");
  ASSERT_EQ(receive().kind, CellReplyKind::kBuilt);
  for (const uint32_t slot : {0u, 64u, ~0u}) {
    build(6, slot, "hello");
    EXPECT_EQ(receive().kind, CellReplyKind::kBuildFailed) << slot;
  }
}

TEST_P(CellTest, DestroyStopsASpinningDomainAtOnceAndFreesItsSlot) {
  prepare(5, 7);
  build(5, 7, "spin");
  ASSERT_EQ(receive().kind, CellReplyKind::kBuilt);
  request(CellRequestKind::kDestroy, 5, 7);
  const CellReply reply = receive();
  EXPECT_EQ(reply.kind, CellReplyKind::kDestroyed);
  EXPECT_EQ(reply.domid, 5);
  prepare(6, 7);
  build(6, 7, "hello");
  EXPECT_EQ(receive().kind, CellReplyKind::kBuilt);
}

TEST_P(CellTest, DestroyOfADomainThatHasEndedIsAnsweredAndHarmsNobody) {
  prepare(5, 0);
  build(5, 0, "hello");
  ASSERT_EQ(receive().kind, CellReplyKind::kBuilt);
  ASSERT_EQ(receive().kind, CellReplyKind::kShutdown);
  prepare(6, 0);
  build(6, 0, "spin");
  ASSERT_EQ(receive().kind, CellReplyKind::kBuilt);
  request(CellRequestKind::kDestroy, 5, 0);
  EXPECT_EQ(receive().kind, CellReplyKind::kDestroyed);
  EXPECT_EQ(domain::record_of(6).state.load(), domain::State::kRunning);
  request(CellRequestKind::kDestroy, 6, 0);
  EXPECT_EQ(receive().domid, 6);
}

TEST_P(CellTest, FullBurstOfRequestsIsAnsweredOneByOne) {
  for (uint32_t slot = 0; slot < machine::kVcpusPerDoorbell; ++slot) prepare(static_cast<DomId>(slot + 1), slot);
  for (uint32_t slot = 0; slot < machine::kVcpusPerDoorbell; ++slot) {
    build(static_cast<DomId>(slot + 1), slot, slot % 16 == 0 ? "spin" : "citizen");
  }
  for (uint32_t slot = 0; slot < machine::kVcpusPerDoorbell; ++slot) {
    const CellReply reply = receive();
    ASSERT_EQ(reply.kind, CellReplyKind::kBuilt) << reply.text;
    EXPECT_EQ(reply.domid, slot + 1);
  }
}

TEST_P(CellTest, RepliesThatTheSocketHasNoRoomForAreSentLater) {
  constexpr int kRequests = 2000;
  int sent = 0, received = 0;
  // Destroying what is not there answers at once; nobody reads until the socket to the cell is full as well.
  CellRequest message{};
  message.kind = CellRequestKind::kDestroy;
  message.domid = 9;
  while (sent < kRequests) {
    if (send(control_.get(), &message, sizeof message, MSG_DONTWAIT) < 0) {
      ASSERT_EQ(errno, EAGAIN);
      while (received < sent) {
        ASSERT_EQ(receive().kind, CellReplyKind::kDestroyed);
        ++received;
      }
      continue;
    }
    ++sent;
    machine_.doorbells().ring_attention(kCell);
  }
  for (; received < sent; ++received) ASSERT_EQ(receive().kind, CellReplyKind::kDestroyed);
}

TEST_P(CellTest, DomainThatIsBuiltPausedRunsWhenItIsUnpaused) {
  prepare(5, 3);
  domain::record_of(5).is_paused.store(true);
  build(5, 3, "hello");
  ASSERT_EQ(receive().kind, CellReplyKind::kBuilt);
  request(CellRequestKind::kPause, 5, 3);
  EXPECT_EQ(receive().kind, CellReplyKind::kPaused);
  EXPECT_EQ(domain::record_of(5).exits.load(), 0u);
  request(CellRequestKind::kUnpause, 5, 3);
  CellReply reply = receive();
  EXPECT_EQ(reply.kind, CellReplyKind::kUnpaused);
  EXPECT_EQ(reply.error, 0);
  EXPECT_EQ(receive().kind, CellReplyKind::kShutdown);
  // It has ended.
  request(CellRequestKind::kPause, 5, 3);
  reply = receive();
  EXPECT_EQ(reply.kind, CellReplyKind::kPaused);
  EXPECT_EQ(reply.error, ESRCH);
}

TEST_P(CellTest, TriggerForAGuestWithoutACallbackIsRefusedWithTheReason) {
  prepare(5, 3);
  build(5, 3, "spin");
  ASSERT_EQ(receive().kind, CellReplyKind::kBuilt);
  request(CellRequestKind::kTrigger, 5, 3);
  CellReply reply = receive();
  EXPECT_EQ(reply.kind, CellReplyKind::kTriggered);
  EXPECT_EQ(reply.error, ENXIO);
  EXPECT_THAT(reply.text, HasSubstr("CALLBACKTYPE_nmi"));
  request(CellRequestKind::kTrigger, 5, 4);
  EXPECT_EQ(receive().error, ESRCH);
}

TEST_P(CellTest, DescriptorsOfRequestsAreClosedAgain) {
  const auto open_files = [&] {
    const std::filesystem::directory_iterator fds("/proc/" + std::to_string(pid_) + "/fd");
    return std::distance(begin(fds), end(fds));
  };
  const auto before = open_files();
  const std::string image = image_of("hello");
  for (int i = 0; i < 20; ++i) {
    request(CellRequestKind::kDestroy, 9, 0, {image});
    ASSERT_EQ(receive().kind, CellReplyKind::kDestroyed);
    request(CellRequestKind::kBuild, 9, 99, {image, image, image, image});
    ASSERT_EQ(receive().kind, CellReplyKind::kBuildFailed);
  }
  // They go after the answer, and before the next request.
  request(CellRequestKind::kDestroy, 9, 0);
  ASSERT_EQ(receive().kind, CellReplyKind::kDestroyed);
  EXPECT_EQ(open_files(), before);
}

TEST_P(CellTest, CellRunsWithoutPrivilegesAndUnderAFilter) {
  if (!sandbox::filters_are_enforced()) GTEST_SKIP() << "sanitizers make system calls of their own";
  std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
  const std::string status(std::istreambuf_iterator<char>(file), {});
  EXPECT_THAT(status, HasSubstr("\nSeccomp:\t2\n"));
  EXPECT_THAT(status, HasSubstr("\nNoNewPrivs:\t1\n"));
  EXPECT_THAT(status, HasSubstr("\nCapPrm:\t0000000000000000\n"));
}

TEST_P(CellTest, QuitEndsTheCell) {
  prepare(5, 0);
  build(5, 0, "spin");
  ASSERT_EQ(receive().kind, CellReplyKind::kBuilt);
  request(CellRequestKind::kQuit);
  int status = 0;
  ASSERT_EQ(waitpid(pid_, &status, 0), pid_);
  pid_ = -1;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_P(CellTest, EndOfPolisdsSocketEndsTheCell) {
  control_.reset();
  machine_.doorbells().ring_attention(kCell);
  int status = 0;
  ASSERT_EQ(waitpid(pid_, &status, 0), pid_);
  pid_ = -1;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_P(CellTest, MessagesOfAnotherSizeOrKindAreIgnored) {
  const uint32_t nonsense = 77;
  ASSERT_EQ(send(control_.get(), &nonsense, sizeof nonsense, 0), static_cast<ssize_t>(sizeof nonsense));
  request(static_cast<CellRequestKind>(99));
  prepare(5, 0);
  build(5, 0, "hello");
  EXPECT_EQ(receive().kind, CellReplyKind::kBuilt);
}

}  // namespace
}  // namespace xenopolis::vcpu
