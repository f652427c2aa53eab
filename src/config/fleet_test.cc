#include "config/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace xenopolis::config {
namespace {

using ::testing::HasSubstr;

class FleetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string directory = ::testing::TempDir() + "fleet-XXXXXX";
    ASSERT_NE(mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    write("web.cfg", "name = \"other\"\nkernel = \"kernels/web\"\nmemory = 8\n");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(directory_ + "/" + name) << text; }
  std::string problems_of(const std::string& text) {
    const auto fleet = parse_fleet(text, "f.toml", directory_);
    if (fleet) return "fine";
    EXPECT_EQ(fleet.error().code, 0);
    return fleet.error().message();
  }

  std::string directory_;
};

TEST_F(FleetTest, TablesBecomeDomainsInTheirOrder) {
  write(
      "fleet.toml",
      "[host]\nname = \"lab\"\nbackend = \"hosted\"\nevent_abi = \"2l\"\n\n"
      "[domains.web]\nconfig = \"web.cfg\"\ncount = 2\nmemory = 16\n\n"
      "[domains.database]\nname = \"db-{:02}\"\nkernel = \"/boot/db\"\ncount = 2\nstart = 9\nvif = []\nacpi = false\n\n"
      "[domains.a]\nconfig = \"web.cfg\"\non_crash = \"restart\"\n");
  const auto fleet = read_fleet(directory_ + "/fleet.toml");
  ASSERT_TRUE(fleet) << fleet.error().what;
  EXPECT_EQ(fleet->host.name, "lab");
  EXPECT_EQ(fleet->host.backend, "hosted");
  EXPECT_EQ(fleet->host.event_abi, "2l");
  std::vector<std::string> names;
  for (const auto& spec : fleet->domains) {
    names.push_back(spec.name);
    EXPECT_TRUE(toolstack::check(spec)) << spec.name;
  }
  EXPECT_THAT(names, ::testing::ElementsAre("web-1", "web-2", "db-09", "db-10", "a"));
  EXPECT_EQ(fleet->domains[0].image, std::filesystem::path(directory_ + "/kernels/web").lexically_normal());
  EXPECT_EQ(fleet->domains[0].memory_mib, 16u);
  EXPECT_EQ(fleet->domains[2].memory_mib, 32u);
  EXPECT_EQ(fleet->domains[4].memory_mib, 8u);
  EXPECT_EQ(fleet->domains[4].on_crash, domain::EndAction::kRestart);
}

TEST_F(FleetTest, WithoutAHostTableTheHostIsTheCommandLines) {
  const auto fleet = parse_fleet("domains.a = {kernel = \"/k\"}\n", "f.toml");
  ASSERT_TRUE(fleet) << fleet.error().what;
  EXPECT_FALSE(fleet->host.name || fleet->host.backend || fleet->host.event_abi);
}

TEST_F(FleetTest, EverythingWrongIsSaidAtOnceWithItsLine) {
  write("bad.cfg", "kernel = \"/k\"\ncolour = 1\n");
  EXPECT_EQ(problems_of("[domains.a]\n"
                        "vcpus = 2\n"
                        "kernel = \"/k\"\n"
                        "[domains.b]\n"
                        "config = \"bad.cfg\"\n"
                        "[domains.c]\n"
                        "config = \"missing.cfg\"\n"
                        "[host]\n"
                        "color = 1\n"),
            "f.toml:2: vcpus: a domain has one vCPU here; 1 is the only value\n" +  //
                directory_ + "/bad.cfg:2: colour: is no key of xl.cfg(5)\n" +       //
                "f.toml:7: config: " + directory_ + "/missing.cfg: No such file or directory\n" +
                "f.toml:9: host.color: a host has name, backend and event_abi only");
}

TEST_F(FleetTest, EachBadValueIsNamed) {
  struct Row {
    const char* line;
    const char* complaint;
  } const rows[] = {
      {"config = 7", "f.toml:3: config: must be a string"},
      {"count = 0", "f.toml:3: count: must be a number from 1 to 32751"},
      {"count = 32752", "f.toml:3: count: must be a number"},
      {"count = \"3\"", "f.toml:3: count: must be a number"},
      {"start = -1", "f.toml:3: start: must be a number"},
      {"memory = 1.5", "f.toml:3: memory: must be a string, a whole number"},
      {"memory = -1", "f.toml:3: memory: \"-1\" is not a number"},
      {"vif = [ \"x\" ]", "f.toml:3: vif: guests have no such devices"},
      {"name = \"x y\"", "f.toml:3: name: \"x y\"; must be"},
      {"count = 2\nuuid = \"01234567-89ab-cdef-0123-456789abcdef\"", "f.toml:1: domains.a: uuid: 2 domains"},
      {"[domains]\nb = 1", "f.toml:"},
      {"[b]", "f.toml:3: b: a fleet has [host] and [domains.NAME] tables only"},
      {"[host]\nbackend = \"xen\"", "f.toml:4: host.backend: must be \"auto\" or \"kvm\" or \"hosted\""},
      {"[host]\nname = \"\"", "f.toml:4: host.name: must be a string"},
      {"memory = ", "f.toml:3: "},
      {"memory = 1\nmemory = 2", "f.toml:"},
      {"[domains.b]\nkernel = \"/k\"\nname = \"a\"", "f.toml:3: domains.b: the name a is taken by domains.a"},
      {"x = [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "f.toml:3: nested too deeply"},
  };
  for (const Row& row : rows) {
    const std::string text = std::string("[domains.a]\nkernel = \"/k\"\n") + row.line + "\n";
    EXPECT_THAT(problems_of(text), HasSubstr(row.complaint)) << row.line;
  }
  EXPECT_THAT(problems_of("[;"), HasSubstr("f.toml:1: "));
  EXPECT_THAT(problems_of("\n\xca\xb5"), HasSubstr("f.toml:2: "));
  EXPECT_EQ(problems_of("[domains.a] # \xca\xb5\nkernel = '/\xca\xb5'"), "fine");
  EXPECT_THAT(problems_of(""), HasSubstr("f.toml: no domains; say [domains.NAME]"));
  EXPECT_THAT(problems_of("domains = 1"), HasSubstr("f.toml:1: domains: must be a table"));
  EXPECT_THAT(problems_of("[domains]\na = 1"), HasSubstr("f.toml:2: domains.a: must be a table"));
  EXPECT_THAT(problems_of("[domains.\"a b\"]\nkernel=\"/k\""), HasSubstr("f.toml:1: name: \"a b\"; must be"));
  EXPECT_THAT(problems_of("[domains.a]\nkernel=\"/k\"\ncount=32751\n[domains.b]\nkernel=\"/k\"\n"),
              HasSubstr("f.toml:4: domains.b: a host has at most 32751 domains"));
}

TEST_F(FleetTest, FilesThatCannotBeReadHaveTheSystemsError) {
  EXPECT_EQ(read_fleet(directory_ + "/missing.toml").error().code, ENOENT);
  EXPECT_EQ(read_fleet("/dev/zero").error().code, E2BIG);
}

}  // namespace
}  // namespace xenopolis::config
