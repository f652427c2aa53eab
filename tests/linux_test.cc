// Debian's kernel as it is, on the kvm backend, used as an operator uses it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "kvm_requirement.h"
#include "live_host.h"

namespace xenopolis {
namespace {

using ::testing::HasSubstr;
using testing::LiveHost;
using ::testing::Not;

constexpr const char* kKernel = LINUX_DIRECTORY "/vmlinuz";
constexpr const char* kBusybox = LINUX_DIRECTORY "/busybox";

constexpr const char* kInit = R"sh(#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
echo "user space on $(/bin/busybox cat /sys/hypervisor/type)"
exec /bin/busybox sh </dev/hvc0 >/dev/hvc0 2>&1
)sh";
// What the kernel runs when control/shutdown says "poweroff".
constexpr const char* kPoweroff = "#!/bin/busybox sh\nexec /bin/busybox poweroff -f\n";

std::string contents_of(const std::string& path) {
  std::ostringstream all;
  all << std::ifstream(path, std::ios::binary).rdbuf();
  return all.str();
}

// A file system that Linux unpacks at its start: an archive in cpio's format "newc"
// (Documentation/driver-api/early-userspace/buffer-format.rst).
class Initramfs {
 public:
  void add_directory(const std::string& path) { add(path, S_IFDIR | 0755, ""); }
  void add_program(const std::string& path, const std::string& contents) { add(path, S_IFREG | 0755, contents); }
  std::string finish() {
    add("TRAILER!!!", 0, "");
    return std::move(archive_);
  }

 private:
  void add(const std::string& path, unsigned mode, const std::string& contents) {
    // Magic, inode, mode, owner, group, links, time, size, four numbers of devices, size of the name, no checksum.
    archive_ += fmt::format("070701{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
                            ++inode_, mode, 0, 0, 1, 0, contents.size(), 0, 0, 0, 0, path.size() + 1, 0);
    archive_ += path + '\0';
    pad();
    archive_ += contents;
    pad();
  }
  void pad() { archive_.resize((archive_.size() + 3) & ~size_t{3}); }

  std::string archive_;
  unsigned inode_ = 0;
};

std::string initramfs() {
  Initramfs files;
  for (const char* path : {"bin", "dev", "proc", "sbin", "sys"}) files.add_directory(path);
  files.add_program("bin/busybox", contents_of(kBusybox));
  files.add_program("init", kInit);
  files.add_program("sbin/poweroff", kPoweroff);
  return files.finish();
}

TEST(LinuxTest, DebiansKernelBootsToAShellAnswersAndPowersOff) {
  REQUIRE_KVM_OR_SKIP();
  if (!std::filesystem::exists(kKernel) || !std::filesystem::exists(kBusybox)) {
    GTEST_SKIP() << kKernel << " or busybox beside it is missing: run tools/fetch-linux";
  }
  LiveHost host({"--backend", "kvm"});
  const std::string ramdisk = host.directory() + "/initramfs";
  std::ofstream(ramdisk, std::ios::binary) << initramfs();
  const auto domid = host.create("linux", "",
                                 {{"image", kKernel},
                                  {"ramdisk", ramdisk},
                                  {"memory_mib", 128},
                                  {"command_line", "console=hvc0"},
                                  {"on_poweroff", "preserve"}});
  ASSERT_TRUE(domid) << domid.error().message();
  const auto log = [&] { return contents_of(host.directory() + "/console/linux.log"); };
  const auto says = [&](const std::string& text) {
    return host.await([&] { return log().find(text) != std::string::npos; });
  };
  ASSERT_TRUE(says("user space on xen")) << log();
  ASSERT_TRUE(says("/ # ")) << log();

  host.shell("echo 'echo the answer is $((6 * 7))' | " POLIS_PROGRAM " console --quit-after 0 linux");
  EXPECT_TRUE(says("the answer is 42")) << log();

  ASSERT_TRUE(host.ask({{"op", "shutdown"}, {"domid", *domid}}));
  EXPECT_TRUE(host.await([&] { return host.list().at(0).value("state", "") == "shutdown"; })) << log();
  EXPECT_EQ(host.list().at(0).value("shutdown_reason", ""), "poweroff") << host.list();
  EXPECT_THAT(log(), HasSubstr("no W+X pages found"));
  EXPECT_THAT(log(), Not(HasSubstr("Call Trace")));
}

}  // namespace
}  // namespace xenopolis
