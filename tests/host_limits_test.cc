// What a host survives under a thousand running domains: no descriptors, no memory, no room on the disk, no /dev/kvm.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>

#include "crowd.h"
#include "kvm_requirement.h"
#include "live_host.h"

namespace xenopolis {
namespace {

using nlohmann::json;
using testing::Crowd;
using testing::expect_beats;
using testing::LiveHost;

TEST(HostDescriptorsTest, WithoutDescriptorsThereAreNoNewCellsAndWithThemThereAre) {
  LiveHost host;
  Crowd crowd(host);
  crowd.fill();
  const pid_t keeper = host.pid_of("polis-keeper");
  rlimit before{};
  ASSERT_EQ(prlimit(keeper, RLIMIT_NOFILE, nullptr, &before), 0);
  const rlimit few{10, before.rlim_max};
  ASSERT_EQ(prlimit(keeper, RLIMIT_NOFILE, &few, nullptr), 0);
  // Into the cells that there are, then no further.
  std::vector<DomId> more;
  Result<DomId> created = DomId{0};
  while (more.size() < 200 && (created = host.create("more-" + std::to_string(more.size()), "citizen"))) {
    more.push_back(*created);
  }
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().code, EMFILE) << created.error().message();
  crowd.expect_all_beat("without descriptors");
  ASSERT_EQ(prlimit(keeper, RLIMIT_NOFILE, &before, nullptr), 0);
  for (const DomId domid : more) ASSERT_TRUE(host.ask({{"op", "destroy"}, {"domid", domid}}));
  crowd.expect_all_well("with descriptors");
}

// `body` in a process of its own, which may change what only itself and its children see.
void run_in_child(const std::function<void()>& body) {
  constexpr int kFailed = 1, kSkipped = 77;
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(::testing::Test::HasFailure() ? kFailed : ::testing::Test::IsSkipped() ? kSkipped : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  if (WEXITSTATUS(status) == kSkipped) GTEST_SKIP();
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// Hosts in a group of processes that may not use more than so much memory.
class HostMemoryLimitTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kBytes = 192u << 20;

  void SetUp() override {
    const bool is_version_2 = std::filesystem::exists("/sys/fs/cgroup/cgroup.controllers");
    parent_ = is_version_2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    group_ = parent_ + "/polis-test-" + std::to_string(getpid());
    mkdir(group_.c_str(), 0700);
    const std::string limit = group_ + (is_version_2 ? "/memory.max" : "/memory.limit_in_bytes");
    std::ofstream(limit) << kBytes;
    std::string said;
    std::ifstream(limit) >> said;
    if (said != std::to_string(kBytes)) GTEST_SKIP() << "no control group of one's own to limit memory in";
  }
  void TearDown() override { rmdir(group_.c_str()); }

  // `body` in the group; what it starts is there, too.
  void run_limited(const std::function<void()>& body) {
    run_in_child([&] {
      std::ofstream(group_ + "/cgroup.procs") << getpid();
      body();
      std::ofstream(parent_ + "/cgroup.procs") << getpid();
    });
  }

  std::string parent_, group_;
};

TEST_F(HostMemoryLimitTest, DomainsThatDoNotFitAreRefusedAndOthersGoOn) {
  run_limited([] {
    LiveHost host;
    Crowd crowd(host);
    crowd.fill();
    Result<DomId> created = DomId{0};
    while (crowd.domids().size() < 5000 && (created = crowd.create("more-" + std::to_string(crowd.domids().size())))) {
      crowd.domids().insert(*created);
    }
    ASSERT_FALSE(created) << "thousands of domains in so little memory";
    EXPECT_EQ(created.error().code, ENOMEM) << created.error().message();
    crowd.expect_all_beat("where there is no more memory");
    EXPECT_EQ(crowd.running(), crowd.domids());
    for (int i = 0; i < 200; ++i) {
      const DomId domid = crowd.domids().extract(crowd.domids().begin()).value();
      ASSERT_TRUE(host.ask({{"op", "destroy"}, {"domid", domid}}));
    }
    EXPECT_TRUE(host.await([&] {
      created = crowd.create("again");
      return created.has_value();
    })) << "there is room again";
    crowd.domids().insert(*created);
    crowd.expect_all_beat("where there is memory again");
  });
}

// With nothing kept free the kernel has to end something: cells.
TEST_F(HostMemoryLimitTest, WhenTheKernelEndsCellsForWantOfMemoryTheHostGoesOn) {
  run_limited([] {
    LiveHost host({"--reserve-mib", "0"});
    const pid_t keeper = host.pid_of("polis-keeper");
    Crowd crowd(host);
    crowd.fill();
    size_t created = crowd.domids().size();
    // Until somebody's domains are gone.
    while (created < 5000 && host.list().size() == created) {
      for (int i = 0; i < 32; ++i) created += crowd.create("more-" + std::to_string(created)).has_value();
    }
    EXPECT_LT(host.list().size(), created) << "nothing was ended";
    EXPECT_EQ(host.pid_of("polis-keeper"), keeper);
    EXPECT_EQ(host.ask({{"op", "info"}})->at("polisd_starts"), 1);
    crowd.domids() = crowd.running();
    EXPECT_GT(crowd.domids().size(), Crowd::kDomains / 2);
    crowd.expect_all_beat("after others were ended");
  });
}

// Sockets and logs on a file system that has no room left.
TEST(HostDiskTest, AFullDiskCostsLogsAndNothingElse) {
  const testing::TemporaryDirectory directory;
  if (mount("polis-test", directory.path().c_str(), "tmpfs", 0, "size=8m") != 0) {
    GTEST_SKIP() << "mounting a small file system takes privileges: " << std::strerror(errno);
  }
  {
    LiveHost host({"--run-dir", directory.path()});
    Crowd crowd(host);
    crowd.fill();
    std::ofstream filler(directory.path() + "/filler");
    const std::string block(4096, 'x');
    while (filler.write(block.data(), static_cast<long>(block.size())).flush()) {
    }
    const auto late = crowd.create("late");
    ASSERT_TRUE(late) << late.error().message();
    crowd.domids().insert(*late);
    crowd.expect_all_beat("on a full disk");
    const pid_t consoled = host.pid_of("polis-consoled");
    host.kill_polisd();
    host.connect();
    EXPECT_EQ(crowd.running(), crowd.domids()) << "a new polisd needs no room on the disk";
    EXPECT_EQ(host.pid_of("polis-consoled"), consoled);
    filler.close();
    std::filesystem::remove(directory.path() + "/filler");
    const std::string log = directory.path() + "/console/late.log";
    EXPECT_TRUE(host.await([&] {
      std::ifstream file(log);
      return std::string(std::istreambuf_iterator<char>(file), {}).find("late") != std::string::npos;
    })) << "what could not be logged is, when there is room";
    crowd.expect_all_well("with room on the disk");
  }
  umount2(directory.path().c_str(), MNT_DETACH);
}

// A /dev/kvm that is none, for this process and its children.
class KvmAway {
 public:
  static bool is_possible() {
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }
  KvmAway() { EXPECT_EQ(mount("/dev/null", "/dev/kvm", nullptr, MS_BIND, nullptr), 0); }
  ~KvmAway() { EXPECT_EQ(umount2("/dev/kvm", MNT_DETACH), 0); }
};
constexpr const char* kTakesPrivileges = "hiding /dev/kvm takes privileges";

TEST(HostKvmTest, DomainsThatRunGoOnWithoutKvmAndNewCellsSayWhatIsMissing) {
  REQUIRE_KVM_OR_SKIP();
  run_in_child([] {
    if (!KvmAway::is_possible()) GTEST_SKIP() << kTakesPrivileges;
    LiveHost host({"--backend", "kvm"});
    Crowd crowd(host);
    crowd.fill();
    {
      const KvmAway away;
      Result<DomId> created = DomId{0};
      for (int i = 0; i < 200 && (created = crowd.create("more-" + std::to_string(i))); ++i) {
        crowd.domids().insert(*created);
      }
      ASSERT_FALSE(created) << "cells without /dev/kvm";
      EXPECT_NE(created.error().message().find("/dev/kvm"), std::string::npos) << created.error().message();
      crowd.expect_all_beat("without /dev/kvm");
      host.kill_polisd();
      host.connect();
      EXPECT_EQ(crowd.running(), crowd.domids()) << "the next polisd goes on without /dev/kvm, too";
      crowd.expect_all_beat("with the next polisd");
    }
    crowd.expect_all_well("with /dev/kvm again");
  });
}

TEST(HostKvmTest, WithoutKvmAHostSaysWhatToDoOrGoesOnHostedAndSaysThat) {
  run_in_child([] {
    if (!KvmAway::is_possible()) GTEST_SKIP() << kTakesPrivileges;
    const std::unique_ptr<KvmAway> away = std::filesystem::exists("/dev/kvm") ? std::make_unique<KvmAway>() : nullptr;
    const testing::TemporaryDirectory directory;
    LiveHost host({"--backend", "auto"});
    const auto info = host.ask({{"op", "info"}});
    EXPECT_EQ(info->at("backend"), "hosted");
    EXPECT_NE(info->at("backend_why").get<std::string>().find("/dev/kvm"), std::string::npos);
    EXPECT_TRUE(host.create("hosted", "citizen"));
    const std::string refused =
        host.shell(std::string(POLISD_PROGRAM) + " --backend kvm --run-dir " + directory.path() + " 2>&1; echo $?");
    EXPECT_NE(refused.find("/dev/kvm"), std::string::npos) << refused;
    EXPECT_TRUE(refused.ends_with("\n1\n")) << refused;
  });
}

}  // namespace
}  // namespace xenopolis
