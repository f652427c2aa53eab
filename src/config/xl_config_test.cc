#include "config/xl_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

namespace xenopolis::config {
namespace {

using domain::EndAction;
using toolstack::DomainSpec;

XlConfigOptions in_srv(std::vector<std::string> overrides = {}) {
  return {std::move(overrides), "/srv"};
}

// What is wrong, or "fine".
std::string problems_of(const std::string& text, std::vector<std::string> overrides = {}) {
  const auto spec = parse_xl_config(text, "a.cfg", in_srv(std::move(overrides)));
  if (spec) return "fine";
  EXPECT_EQ(spec.error().code, 0);
  return spec.error().message();
}

DomainSpec parsed(const std::string& text, std::vector<std::string> overrides = {}) {
  auto spec = parse_xl_config(text, "a.cfg", in_srv(std::move(overrides)));
  EXPECT_TRUE(spec) << spec.error().what;
  return spec ? std::move(*spec) : DomainSpec();
}

TEST(XlConfigTest, EveryKeyReachesTheSpec) {
  const DomainSpec spec = parsed(
      "# a whole one\n"
      "name = \"web\"; type = 'pv'\n"
      "builder = \"generic\"\n"
      "memory = 64\n"
      "maxmem = 0x40\n"
      "vcpus = 1\n"
      "maxvcpus = \"1\"\n"
      "kernel = \"/boot/vmlinuz\"\n"
      "ramdisk = \"initrd.img\"\n"
      "root = \"/dev/xvda\"\n"
      "extra = \"ro\"\n"
      "extra += \" quiet\"\n"
      "on_poweroff = \"preserve\"\n"
      "on_reboot = \"destroy\"\n"
      "on_watchdog = \"restart\"\n"
      "on_crash = \"preserve\"\n"
      "max_event_channels = 131071\n"
      "max_grant_frames = 32\n"
      "consoles = 2\n"
      "uuid = \"01234567-89ab-cdef-0123-456789abcdef\"\n"
      "vif = [ ]\n"
      "disk = []  # none, also at the end of the file");
  EXPECT_EQ(spec.name, "web");
  EXPECT_EQ(spec.memory_mib, 64u);
  EXPECT_EQ(spec.image, "/boot/vmlinuz");
  EXPECT_EQ(spec.ramdisk, "/srv/initrd.img");
  EXPECT_EQ(spec.command_line, "root=/dev/xvda ro quiet");
  EXPECT_EQ(spec.on_poweroff, EndAction::kPreserve);
  EXPECT_EQ(spec.on_reboot, EndAction::kDestroy);
  EXPECT_EQ(spec.on_watchdog, EndAction::kRestart);
  EXPECT_EQ(spec.on_crash, EndAction::kPreserve);
  EXPECT_EQ(spec.max_event_channels, 131'071u);
  EXPECT_EQ(spec.max_grant_frames, 32u);
  EXPECT_EQ(spec.consoles, 2u);
  EXPECT_EQ(spec.uuid, "01234567-89ab-cdef-0123-456789abcdef");
  EXPECT_TRUE(toolstack::check(spec));
}

TEST(XlConfigTest, WhatIsLeftOutIsAsForXl) {
  const DomainSpec spec = parsed("name=\"a\"\nkernel=\"/k\"\n");
  DomainSpec expected;
  expected.name = "a";
  expected.image = "/k";
  expected.memory_mib = 32;
  EXPECT_EQ(to_json(spec), to_json(expected));
  EXPECT_EQ(parsed("name=\"a\"\nkernel=\"/k\"\nmaxmem=7\n").memory_mib, 7u);
}

TEST(XlConfigTest, TheLastOfSeveralCounts) {
  EXPECT_EQ(parsed("name=\"a\"\nkernel=\"/k\"\nmemory=5\nmemory=6\n").memory_mib, 6u);
}

TEST(XlConfigTest, PathsAreRelativeToTheCurrentDirectoryIfToNoOther) {
  const auto spec = parse_xl_config("name=\"a\"\nkernel=\"../k\"\n", "dir/a.cfg");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->image, (std::filesystem::current_path().parent_path() / "k").string());
}

TEST(XlConfigTest, OverridesComeAfterTheFileAndNeedNoQuotes) {
  const std::string file = "name=\"a\"\nkernel=\"/k\"\nextra=\"x\"\n";
  const DomainSpec spec = parsed(file, {"name=web-{:02}", "memory = 0x10", "extra+=y \"z\\", "ramdisk='r d'", "vif=[]",
                                        "on_crash=preserve", "uuid=01234567-89ab-cdef-0123-456789abcdef"});
  EXPECT_EQ(spec.name, "web-{:02}");
  EXPECT_EQ(spec.memory_mib, 16u);
  EXPECT_EQ(spec.command_line, "xy \"z\\");
  EXPECT_EQ(spec.ramdisk, "/srv/r d");
  EXPECT_EQ(spec.on_crash, EndAction::kPreserve);
  const DomainSpec several = parsed(file, {"memory=16; name=\"b\"", "extra=\"y\"; ramdisk='/r'"});
  EXPECT_EQ(several.memory_mib, 16u);
  EXPECT_EQ(several.name, "b");
  EXPECT_EQ(several.ramdisk, "/r");
  EXPECT_EQ(parsed(file, {"extra=a;b"}).command_line, "a;b");
  EXPECT_EQ(parsed("", {"name=a", "kernel=/k"}).image, "/k") << "no file at all is needed";
  EXPECT_EQ(parsed("name=\"a\"\nkernel=\"/k\"", {"memory=9"}).memory_mib, 9u) << "also without a last newline";
}

TEST(XlConfigTest, EverythingWrongIsSaidAtOnceWithItsLine) {
  EXPECT_EQ(problems_of("name = \"a\"\n"
                        "memroy = 64\n"
                        "vcpus = 4\n"
                        "\n"
                        "disk = [ 'phy:/dev/x,xvda,w' ]\n",
                        {"on_crash=coredump-restart"}),
            "a.cfg: kernel: is missing; say kernel = \"FILE\", a PV guest's image\n"
            "a.cfg:2: memroy: is no key of xl.cfg(5); is memory meant?\n"
            "a.cfg:3: vcpus: a domain has one vCPU here; 1 is the only value\n"
            "a.cfg:5: disk: guests have no such devices here; leave it out\n"
            "command line: on_crash: this host cannot do \"coredump-restart\"; use destroy, restart, rename-restart or "
            "preserve");
}

TEST(XlConfigTest, EachBadValueIsNamed) {
  struct Row {
    const char* line;
    const char* complaint;
  } const rows[] = {
      {"name = \"a b\"", "name: \"a b\"; must be 1 to 63 characters"},
      {"name = \"a{}{}\"", "name: \"a{}{}\": in a name"},
      {"name = [\"a\"]", "name: is a list"},
      {"type = \"hvm\"", "type: \"hvm\": this host runs PV guests only"},
      {"type = \"pvh\"", "type: \"pvh\": this host runs PV guests only"},
      {"builder = \"hvm\"", "builder: \"hvm\": this host runs PV"},
      {"memory = 0", "memory: 0 is not in 1 to 524288"},
      {"memory = \"64M\"", "memory: \"64M\" is not a number"},
      {"memory = \"-1\"", "memory: \"-1\" is not a number"},
      {"memory = \"\"", "memory: \"\" is not a number"},
      {"memory = 99999999999999999999", "is not a number"},
      {"memory = 6; memory += 4", "memory: is a number: = sets it, += does not"},
      {"maxmem = 64", "maxmem: 64 differs from memory = 4"},
      {"maxvcpus = 2", "maxvcpus: a domain has one vCPU"},
      {"kernel = \"\"", "kernel: \"\" is not an absolute path"},
      {"ramdisk = [ \"x\" ]", "ramdisk: is a list"},
      {"cmdline = \"x\"; extra = \"y\"", "extra: xl ignores it beside cmdline"},
      {"cmdline = \"\"; root = \"y\"", "root: xl ignores it beside cmdline"},
      {"on_crash = \"explode\"", "on_crash: \"explode\" is none of destroy, restart, preserve"},
      {"on_reboot = \"coredump-destroy\"", "on_reboot: this host cannot do \"coredump-destroy\""},
      {"on_soft_reset = \"soft-reset\"", "on_soft_reset: this host has nothing like it; leave it out or say destroy"},
      {"max_event_channels = 1", "max_event_channels: 1 is not in 2 to 131071"},
      {"max_event_channels = 4294967297", "max_event_channels: 4294967295 is not in"},
      {"max_grant_frames = 65", "max_grant_frames: 65 is not in 1 to 64"},
      {"consoles = 10", "consoles: 10 is not in 0 to 9"},
      {"uuid = \"1\"", "uuid: must be like"},
      {"vif = [ '' ]", "vif: guests have no such devices"},
      {"vif = ''", "vif: guests have no such devices"},
      {"bootloader = \"pygrub\"", "bootloader: this host starts images directly"},
      {"cpu_weight = 512", "cpu_weight: domains have equal shares of all processors here; leave it out or say 256"},
      {"acpi = 1", "acpi: is for HVM and PVH guests"},
      {"colour = 1", "colour: is no key of xl.cfg(5)"},
      {"kernal = '/k'", "kernal: is no key of xl.cfg(5); is kernel meant?"},
  };
  for (const Row& row : rows) {
    const std::string text = std::string("name = \"a\"\nkernel = \"/k\"\nmemory = 4\n") + row.line + "\n";
    const std::string problems = problems_of(text);
    EXPECT_THAT(problems, ::testing::HasSubstr(row.complaint)) << row.line;
    EXPECT_THAT(problems, ::testing::StartsWith("a.cfg:4: ")) << row.line;
    EXPECT_EQ(problems.find('\n'), std::string::npos) << problems;
  }
}

TEST(XlConfigTest, WhatIsSoAnywayMayBeSaid) {
  for (const char* line :
       {"vif = []", "pci = [ ]", "cpu_weight = 256", "acpi = 0", "vnc = 0", "cpus = \"all\"", "tsc_mode = \"default\"",
        "max_grant_version = 1", "on_soft_reset = \"destroy\"", "ramdisk = \"\""}) {
    EXPECT_EQ(problems_of(std::string("name=\"a\"\nkernel=\"/k\"\n") + line + "\n"), "fine") << line;
  }
}

TEST(XlConfigTest, SyntaxErrorsAreThoseOfXlWithOurFilesName) {
  EXPECT_EQ(problems_of("name = \"a\"\nkernel = /boot/x\nmemory = 4\nvcpus = \n"),
            "a.cfg:2: config parsing error near `/boot/x': lexical error\n"
            "a.cfg:4: config parsing error near <newline>: syntax error, unexpected NEWLINE, expecting STRING or "
            "NUMBER or '['");
  EXPECT_EQ(problems_of("name = \"a\"\n", {"kernel=\"/k", "x", "Y=1", "=1", "a b=1", "a=1\nb=2"}).substr(0, 40),
            "command line: \"x\" is not KEY=VALUE\ncomma");
  EXPECT_THAT(problems_of("name=\"a\"\nextra=\"x\"\nextra+=[]\n"),
              ::testing::HasSubstr("can't add [list] to \"string\""));
}

TEST(XlConfigTest, SyntaxErrorsHaveTheirLine) {
  for (const char* text :
       {"\n\na=\n", "\n\na= # b\n", "\n\na=1 2\n", "\n\na=[1,\n", "\n\na='x\n", "\n\na=1;b\n", "\n\na"}) {
    EXPECT_THAT(problems_of(text), ::testing::MatchesRegex("a.cfg:[34]: config parsing error near.*")) << text;
  }
}

TEST(XlConfigTest, WordsInStringsCommentsAndNumbersAreNoKeys) {
  EXPECT_EQ(problems_of("name='a' # colour = 1\nkernel=\"/k = 'x\\\"y\"\nextra='z = \\'q\\' #'\nmemory=0xab\n"),
            "fine");
}

TEST(XlConfigTest, BytesThatXlCannotTakeAreNamed) {
  EXPECT_EQ(problems_of(std::string("name='a'\nextra=']x\0'", 21)), "a.cfg:2: a NUL byte");
  EXPECT_THAT(problems_of("name='a'\r\n"), ::testing::HasSubstr("\na.cfg: lines end with CR LF; xl takes LF only"));
  EXPECT_THAT(problems_of("name='a'\nkernel='/k'\nextra='\xff'\n"),
              ::testing::HasSubstr("a.cfg:3: extra: must be UTF-8"));
}

TEST(XlConfigTest, LongFilesAreRefused) {
  EXPECT_THAT(problems_of(std::string(64 * 1024 + 1, '\n')), ::testing::HasSubstr("65537 bytes; at most 65536"));
}

TEST(XlConfigTest, FilesThatCannotBeReadHaveTheSystemsError) {
  const auto missing = read_xl_config("/nonexistent/a.cfg");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ENOENT);
  EXPECT_EQ(missing.error().message(), "/nonexistent/a.cfg: No such file or directory");
  EXPECT_EQ(read_xl_config("/").error().code, EISDIR);
  EXPECT_EQ(read_xl_config("/dev/zero").error().code, E2BIG);
}

}  // namespace
}  // namespace xenopolis::config
