// What people see of a running host: its log, its metrics and traces of its domains, by the real programs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sstream>

#include "base/unix_socket.h"
#include "domain/domain_record.h"
#include "live_host.h"
#include "machine/message_ring.h"
#include "machine/trace_ring.h"

namespace xenopolis {
namespace {

using nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using testing::LiveHost;
using ::testing::Not;
using ::testing::StartsWith;

class ObservationHostTest : public ::testing::Test {
 protected:
  // "polis WORDS" of this build, standard output and error.
  std::string polis(const std::string& words) const { return host_.shell("{ " POLIS_PROGRAM " " + words + "; } 2>&1"); }
  double metric(const std::string& sample) const {
    const json samples = json::parse(polis("metrics --json"), nullptr, false);
    return samples.is_object() ? samples.value(sample, -1.0) : -2.0;
  }
  DomId create(const std::string& name, const std::string& guest, const std::string& command_line = "") {
    return host_.create(name, guest, {{"command_line", command_line}}).value();
  }
  bool beats(DomId domid) {
    host_.machine();
    const uint64_t before = domain::record_of(domid).hypercalls.load();
    return host_.await([&] { return domain::record_of(domid).hypercalls.load() > before + 3; });
  }

  LiveHost host_;
};

TEST_F(ObservationHostTest, TheLogHasWhatHappenedAndSurvivesThoseWhoWroteIt) {
  host_.machine();
  const DomId fragile = create("fragile", "spin");
  kill(machine::doorbell(domain::record_of(fragile).cell).pid.load(), SIGKILL);
  ASSERT_TRUE(
      host_.await([&] { return polis("dmesg --level error").find("domains that end with it: 1") != std::string::npos; }));
  const DomId steady = create("steady", "citizen", "beat_ms=50");
  ASSERT_TRUE(beats(steady));
  kill(host_.pid_of("polis-xenstored"), SIGKILL);
  ASSERT_TRUE(host_.await([&] { return polis("dmesg").find("polis-xenstored was killed") != std::string::npos; }));
  EXPECT_THAT(polis("dmesg --level warn"), Not(HasSubstr(" info: ")));
  host_.kill_polisd();
  host_.connect();
  EXPECT_THAT(polis("dmesg"), HasSubstr("polis-xenstored was killed"));
  for (std::istringstream lines(polis("dmesg --json")); !lines.eof();) {
    std::string line;
    if (!std::getline(lines, line)) break;
    const json object = json::parse(line, nullptr, false);
    ASSERT_TRUE(object.is_object()) << line;
    EXPECT_TRUE(object.contains("time") && object.contains("message")) << line;
  }
  polis("dmesg --clear");
  EXPECT_THAT(polis("dmesg"), Not(HasSubstr("polis-xenstored was killed")));
}

TEST_F(ObservationHostTest, MetricsCountWhatTheDomainsDo) {
  const DomId domid = create("busy", "citizen", "beat_ms=10");
  create("paused", "citizen");
  ASSERT_TRUE(beats(domid));
  EXPECT_TRUE(host_.ask({{"op", "pause"}, {"domid", domid + 1}}));
  EXPECT_EQ(metric("polis_domains{state=\"running\"}"), 1);
  EXPECT_EQ(metric("polis_domains{state=\"paused\"}"), 1);
  EXPECT_GT(metric("polis_hypercalls_total{hypercall=\"sched_op\"}"), 3);
  EXPECT_GT(metric("polis_exits_total{reason=\"hypercall\"}"), 3);
  EXPECT_GT(metric("polis_wakeup_seconds_count"), 0);
  EXPECT_GT(metric("polis_run_queue_seconds_count"), 3);
  EXPECT_LT(metric("polis_run_queue_seconds_sum"), 100);
  EXPECT_GT(metric("polis_events_sent_total{sender=\"cells\",abi=\"fifo\",priority=\"7\"}"), 0);
  EXPECT_GT(metric("polis_xenstore_requests_total{type=\"WRITE\"}"), 10);
  EXPECT_EQ(metric("polis_xenstore_domains"), 2);
  EXPECT_GT(metric("polis_console_output_bytes_total"), 0);
  EXPECT_EQ(metric("polis_consoles"), 2);
  const std::string labels = "{domid=\"" + std::to_string(domid) + "\",name=\"busy\"}";
  EXPECT_EQ(metric("polis_domain_memory_bytes" + labels), 4 << 20);
  EXPECT_GT(metric("polis_domain_resident_bytes" + labels), 4096);
  EXPECT_THAT(polis("metrics --no-domains"), Not(HasSubstr("polis_domain_")));
}

TEST_F(ObservationHostTest, MetricsAreServedOverHttpWhenAskedFor) {
  create("one", "citizen");
  const std::string path = host_.directory() + "/metrics.sock";
  const pid_t server =
      std::stoi(host_.shell(POLIS_PROGRAM " metrics --listen unix:" + path + " > /dev/null 2>&1 & echo $!"));
  const Fd client = connect_unix(path, SOCK_STREAM, 20'000).value();
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: host\r\n\r\n";
  ASSERT_EQ(send(client.get(), request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  std::string answer;
  EXPECT_TRUE(host_.await([&] {
    char buffer[4096];
    const ssize_t got = recv(client.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0) answer.append(buffer, static_cast<size_t>(got));
    return got == 0;
  }));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("\npolis_domains{state=\"running\"} 1\n"));
  kill(server, SIGTERM);
  EXPECT_TRUE(host_.await([&] { return access(path.c_str(), F_OK) != 0; })) << "its socket goes with it";
  EXPECT_THAT(polis("metrics --listen 0.0.0.0:9100; echo status $?"), HasSubstr("no password"));
}

TEST_F(ObservationHostTest, ATraceShowsWhatADomainDoesWhileItIsAskedFor) {
  const DomId domid = create("traced", "citizen", "beat_ms=10");
  ASSERT_TRUE(beats(domid));
  const std::string text = polis("trace traced -n 200");
  EXPECT_THAT(text,
              ContainsRegex("\n  sched_op\\(SCHEDOP_poll, \\{nr_ports=4, timeout=none\\}\\) = 0 <0\\.0[0-9]+>\n"));
  EXPECT_THAT(text,
              ContainsRegex("\n  vcpu_op\\(VCPUOP_set_singleshot_timer, 0, \\{timeout=\\+[0-9.]+ ms\\}\\) = 0 <"));
  EXPECT_THAT(text, ContainsRegex("\nmulticall\\(0x[0-9a-f]+, 0x2\\) = 0 <"));
  EXPECT_THAT(text, ContainsRegex("\n--- waited for [0-9.]+ ms ---\n"));
  EXPECT_FALSE(machine::is_traced(domid)) << "its end is the end of it";
  EXPECT_THAT(polis("trace traced -n 20 -e sched_op"), Not(HasSubstr("event_channel_op")));
  EXPECT_THAT(polis("trace traced -c -s 0.2"), ContainsRegex("% time +seconds +usecs/call +calls +errors name"));
  EXPECT_THAT(polis("trace nobody; echo status $?"), HasSubstr("status 1\n"));
  EXPECT_THAT(polis("trace traced -e nonsense"), HasSubstr("neither a hypercall"));
}

TEST_F(ObservationHostTest, ATraceEndsWithItsDomain) {
  const DomId domid = create("traced", "citizen", "beat_ms=10");
  ASSERT_TRUE(beats(domid));
  const std::string text = polis("trace traced -e end,event_channel_op & sleep 0.3; " POLIS_PROGRAM
                                 " shutdown -w traced; wait; echo status $?");
  EXPECT_THAT(text, HasSubstr("\n+++ shut down: poweroff +++\n"));
  EXPECT_THAT(text, HasSubstr("event_channel_op(EVTCHNOP_send, {port="));
}

TEST_F(ObservationHostTest, ATraceTellsThatItsDomainWasDestroyed) {
  const DomId domid = create("traced", "citizen", "beat_ms=10");
  ASSERT_TRUE(beats(domid));
  EXPECT_THAT(polis("trace traced -e end & sleep 0.3; " POLIS_PROGRAM " destroy traced; wait"),
              HasSubstr("\n+++ destroyed +++\n"));
}

TEST_F(ObservationHostTest, ATracerThatIsKilledOrStoppedHoldsUpNobody) {
  const DomId domid = create("traced", "spin");
  const DomId other = create("other", "citizen", "beat_ms=10");
  polis("trace other > /dev/null & sleep 0.3; kill -STOP $!; sleep 0.1; kill -KILL $!");
  EXPECT_TRUE(beats(other));
  EXPECT_THAT(polis("trace other -n 1"), ContainsRegex("is traced by process [0-9]+\n")) << "it might only be slow";
  EXPECT_THAT(polis("trace traced -c -s 0.1"), HasSubstr("interrupt"));
  (void)domid;
}

}  // namespace
}  // namespace xenopolis
