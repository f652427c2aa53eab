#include "xenstore/control.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ControlTest : public testing::Test {
 protected:
  ControlTest() {
    char pattern[] = "/tmp/control_test.XXXXXX";
    directory_ = mkdtemp(pattern);
    server.control().set_directory(directory_);
  }
  ~ControlTest() override { std::filesystem::remove_all(directory_); }

  std::string control(const std::string& command) { return dom0.ask(XS_CONTROL, command); }
  std::string path(const std::string& file) { return directory_ + "/" + file; }
  std::string content(const std::string& file) {
    std::stringstream text;
    text << std::ifstream(path(file)).rdbuf();
    return text.str();
  }

  TestLink link;
  Server server{&link};
  TestClient dom0{server};
  TestClient guest{server, Subject{5, {}}};
  std::string directory_;
};

TEST_F(ControlTest, UnknownCommandsAndParametersAreRefused) {
  for (const char* command : {"",
                              "check",
                              "nothing|",
                              "|",
                              "check|x|",
                              "log|on|off|",
                              "log|x|",
                              "log|+x|",
                              "log|*io|",
                              "logfile|",
                              "logfile|a|b|",
                              "memreport|a|b|",
                              "memreport|",
                              "print|",
                              "print|a|b|",
                              "quota|x|",
                              "quota|set|",
                              "quota|set|nodes|",
                              "quota|set|nodes|0|",
                              "quota|set|nodes|x|",
                              "quota|set|nodes|-1|",
                              "quota|set|other|1|",
                              "quota|set|nodes|1|2|",
                              "quota|max|x|",
                              "quota|max|-r|x|",
                              "quota|5|6|",
                              "quota-soft|x|",
                              "quota-soft|set|nodes|1|",
                              "help|x|",
                              "domain-shutdown|",
                              "domain-shutdown|x|",
                              "help|1|2|3|4|5|6|7|8|9|"}) {
    EXPECT_EQ(control(command), "EINVAL") << command;
  }
  EXPECT_EQ(control("quota|999|"), "ENOENT");
  EXPECT_EQ(control("live-update|-s|"), "ENOSYS");
  EXPECT_EQ(guest.ask(XS_CONTROL, "help|"), "EACCES");
}

TEST_F(ControlTest, HelpNamesEveryCommand) {
  const std::string help = control("help|");
  for (const char* command : {"check", "log", "live-update", "logfile", "memreport", "print", "quota", "quota-soft",
                              "domain-shutdown", "help"}) {
    EXPECT_THAT("\n" + help, HasSubstr("\n" + std::string(command) + " ")) << command;
  }
  EXPECT_THAT(help, HasSubstr("log             [on|off|+<switch>|-<switch>]\n"));
}

TEST_F(ControlTest, CheckIsFineAndPrintPrints) {
  EXPECT_EQ(control("check|"), "OK|");
  EXPECT_EQ(control("print|hello|"), "OK|");
}

TEST_F(ControlTest, LiveUpdateIsWhatItsOwnerMakesOfIt) {
  std::vector<std::string> heard;
  server.control().on_live_update([&](Control::Arguments arguments) -> Control::Answer {
    heard.assign(arguments.begin(), arguments.end());
    return std::string("OK");
  });
  EXPECT_EQ(control("live-update|-f|/bin/new|"), "OK|");
  EXPECT_THAT(heard, testing::ElementsAre("-f", "/bin/new"));
}

TEST_F(ControlTest, TheLogIsSwitchedAndRead) {
  EXPECT_EQ(control("log|"),
            "Log switch settings:\nobj     : on\nio      : on\nwrl     : off\nacc     : off\ntdb     : off\n|");
  EXPECT_EQ(control("log|on|"), "OK|");  // there is no file yet
  EXPECT_EQ(control("logfile|trace|"), "OK|");
  EXPECT_EQ(control("log|+tdb|"), "OK|");
  dom0.ask(XS_WATCH, "/a|token|");
  dom0.ask(XS_WRITE, "/a/b|value\nwith a line");
  guest.ask(XS_READ, "name|");
  EXPECT_THAT(content("trace"), HasSubstr(" WRITE (/a/b value with a line)\n"));
  EXPECT_THAT(content("trace"), HasSubstr("tdb: store /a/b\n"));
  EXPECT_THAT(content("trace"), HasSubstr("io: EVENT d0 /a/b token\n"));
  EXPECT_THAT(content("trace"), HasSubstr("obj: CREATE watch /a token d0\n"));
  EXPECT_THAT(content("trace"), testing::ContainsRegex("io: IN d5 [-0-9]+ [:0-9]+ READ \\(name \\)\n"));
  EXPECT_THAT(content("trace"), testing::ContainsRegex("io: OUT d5 [-0-9]+ [:0-9]+ ERROR \\(EACCES \\)\n"));
  EXPECT_EQ(control("log|-io|"), "OK|");
  dom0.ask(XS_WRITE, "/c/d|value");
  EXPECT_THAT(content("trace"), Not(HasSubstr("WRITE (/c/d")));
  EXPECT_THAT(content("trace"), HasSubstr("tdb: store /c/d\n"));
  EXPECT_EQ(control("log|off|"), "OK|");
  dom0.ask(XS_WRITE, "/e/f|value");
  EXPECT_THAT(content("trace"), Not(HasSubstr("/e/f")));
  // As logrotate does it.
  std::filesystem::rename(path("trace"), path("trace.1"));
  EXPECT_EQ(control("log|on|"), "OK|");
  dom0.ask(XS_WRITE, "/g/h|value");
  EXPECT_EQ(content("trace"), "tdb: store /g/h\n");
  EXPECT_EQ(control("logfile|/nowhere/at/all|"), "ENOENT");
  dom0.ask(XS_WRITE, "/i/j|value");
}

TEST_F(ControlTest, MemreportIsAppendedToAFile) {
  EXPECT_EQ(control("memreport|report|"), "OK|");
  EXPECT_THAT(content("report"), StartsWith("xenstore memory report\nnodes: 3, "));
  EXPECT_EQ(control("logfile|" + path("trace") + "|"), "OK|");
  EXPECT_EQ(control("memreport|"), "OK|");
  EXPECT_THAT(content("trace"), HasSubstr("xenstore memory report\n"));
  EXPECT_EQ(control("memreport|nowhere/report|"), "ENOENT");
}

TEST_F(ControlTest, QuotasAreShownAndSet) {
  EXPECT_EQ(control("quota|"),
            "Quota settings:\n"
            "nodes            :     1000 Nodes per domain\n"
            "watches          :      128 Watches per domain\n"
            "outstanding      :       20 Outstanding requests per domain\n"
            "memory           :  2621440 Total Xenstore memory per domain\n"
            "transactions     :       10 Active transactions per domain\n"
            "transaction-nodes:     1024 Max. number of accessed nodes per transaction\n"
            "node-permissions :        5 Max. number of permissions per node\n"
            "path-max         :     2048 Max. length of a node path\n"
            "node-size        :     2048 Max. size of a node\n|");
  EXPECT_EQ(control("quota-soft|"), "Quota settings:\nmemory           :  2097152 Total Xenstore memory per domain\n|");
  EXPECT_EQ(control("quota|set|nodes|7|"), "OK|");
  EXPECT_EQ(control("quota-soft|set|memory|8|"), "OK|");
  EXPECT_EQ(dom0.ask(kXsGetQuota, "nodes|"), "7|");
  EXPECT_EQ(dom0.ask(kXsGetQuota, "soft-memory|"), "8|");
}

TEST_F(ControlTest, QuotaOfADomainSaysWhatItHasAndHad) {
  ASSERT_EQ(dom0.ask(XS_INTRODUCE, "5|1|2|"), "OK|");
  dom0.ask(XS_MKDIR, "/local/domain/5|");
  dom0.ask(XS_SET_PERMS, "/local/domain/5|n5|");
  for (const char* node : {"a", "b", "c"}) EXPECT_EQ(guest.ask(XS_WRITE, std::string(node) + "|x"), "OK|");
  EXPECT_EQ(guest.ask(XS_RM, "a|"), "OK|");
  guest.ask(XS_SET_PERMS, "b|n5|r1|r2|");
  guest.ask(XS_WATCH, "b|t|");
  const std::string domain = control("quota|5|");
  EXPECT_THAT(domain, StartsWith("Domain 5:\nnodes            :        3 (max        4)\n"));
  EXPECT_THAT(domain, HasSubstr("node-permissions :        0 (max        3)\n"));
  EXPECT_THAT(control("quota|max|"), StartsWith("Max. seen accounting values:\nnodes            :        4\n"));
  EXPECT_THAT(control("quota|max|-r|"), HasSubstr("nodes            :        0\n"));
  EXPECT_THAT(control("quota|5|"), HasSubstr("nodes            :        3 (max        3)\n"));
  EXPECT_EQ(control("quota|0|"), "ENOENT");
}

}  // namespace
}  // namespace xenopolis::xenstore
