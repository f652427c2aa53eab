#include "toolstack/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "domain/registry.h"
#include "machine/domain_memory.h"
#include "machine/service_counters.h"

namespace xenopolis::toolstack {
namespace {

// Reads what it is given as strictly as the format's description has it. Sample with labels -> value.
std::map<std::string, double> parse(const std::string& text) {
  static const std::regex kHelp(R"(# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) .+)");
  static const std::regex kType(R"(# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram))");
  static const std::regex kSample(
      R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*"(,[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*")*\})? ([-+.0-9e]+))re");
  std::map<std::string, double> samples;
  std::map<std::string, std::string> types;
  std::string family;
  EXPECT_TRUE(text.ends_with('\n'));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, kHelp)) {
      EXPECT_FALSE(types.contains(match[1])) << line << ": a family is written once";
      family = match[1];
    } else if (std::regex_match(line, match, kType)) {
      EXPECT_EQ(match[1], family) << line;
      types[family] = match[2];
      EXPECT_EQ(family.ends_with("_total"), match[2] == "counter") << line << ": counters end in _total";
    } else if (std::regex_match(line, match, kSample)) {
      const std::string name = match[1];
      const bool is_part = types[family] == "histogram" &&
                           (name == family + "_bucket" || name == family + "_sum" || name == family + "_count");
      EXPECT_TRUE(name == family || is_part) << line << ": within " << family;
      EXPECT_TRUE(samples.emplace(name + match[2].str(), std::stod(match[6])).second) << line << ": twice";
    } else {
      ADD_FAILURE() << "no line of the format: " << line;
    }
  }
  return samples;
}

class MetricsTest : public testing::Test {
 protected:
  std::map<std::string, double> metrics(bool each_domain = true) {
    return parse(metrics_text(machine_, {.each_domain = each_domain, .host = {{"backend", "hosted"}}}));
  }
  domain::DomainRecord& start(DomId domid, const std::string& name) {
    domain::DomainRecord& record = *domain::claim_record(domid).value();
    std::strcpy(record.name, name.c_str());
    record.ram_pages = 1024;
    machine::memory_of(domid).extent = machine_.frames().allocate_extent(1024).value();
    record.state.store(domain::State::kRunning);
    return record;
  }
  machine::Machine machine_ = machine::Machine::create(40 * machine::kGiB).value();
};

TEST_F(MetricsTest, AnEmptyHostHasWellFormedMetrics) {
  const auto samples = metrics();
  EXPECT_EQ(samples.at("polis_info{backend=\"hosted\"}"), 1);
  EXPECT_EQ(samples.at("polis_domains{state=\"running\"}"), 0);
  EXPECT_EQ(samples.at("polis_wakeup_seconds_count"), 0);
}

TEST_F(MetricsTest, CellsAreAddedUp) {
  for (const uint32_t cell : {0u, 1u, 4000u}) {
    machine::Statistics& counted = machine::statistics_of(cell);
    machine::count(counted.hypercalls[__HYPERVISOR_sched_op], 10);
    machine::count(counted.hypercalls.back(), 1);
    machine::count(counted.exits[3], 5);
    machine::count(counted.traps[14], 2);
    machine::count(counted.events_sent[2][7], 4);
    counted.wake.add(1000);
    counted.wake.add(1ull << 40);
  }
  const auto samples = metrics();
  EXPECT_EQ(samples.at("polis_hypercalls_total{hypercall=\"sched_op\"}"), 30);
  EXPECT_EQ(samples.at("polis_hypercalls_total{hypercall=\"beyond\"}"), 3);
  EXPECT_EQ(samples.at("polis_exits_total{reason=\"interrupted\"}"), 15);
  EXPECT_EQ(samples.at("polis_traps_total{vector=\"14\"}"), 6);
  EXPECT_EQ(samples.at("polis_events_sent_total{sender=\"cells\",abi=\"fifo\",priority=\"7\"}"), 12);
  EXPECT_EQ(samples.at("polis_wakeup_seconds_bucket{le=\"5.12e-07\"}"), 0);
  EXPECT_EQ(samples.at("polis_wakeup_seconds_bucket{le=\"1.024e-06\"}"), 3);
  EXPECT_EQ(samples.at("polis_wakeup_seconds_bucket{le=\"+Inf\"}"), 6);
  EXPECT_EQ(samples.at("polis_wakeup_seconds_count"), 6);
  EXPECT_NEAR(samples.at("polis_wakeup_seconds_sum"), 3 * (1e-6 + 1099.511627776), 1e-3);
}

TEST_F(MetricsTest, DaemonsHaveTheirOwnCounters) {
  machine::my_statistics = &machine::statistics_of(machine::dom0_doorbell(0));
  machine::count_service(static_cast<uint32_t>(XS_WRITE), 5);
  machine::count_service(machine::XenstoreCounter::kEvents, 6);
  machine::note_service(machine::XenstoreCounter::kWatches, 7);
  for (unsigned request = 0; request < 3 * machine::Statistics::kRequestSample; ++request) machine::RequestTimer();
  machine::my_statistics = &machine::statistics_of(machine::dom0_doorbell(1));
  machine::count_service(machine::ConsoleCounter::kOutputBytes, 8);
  machine::my_statistics = nullptr;
  const auto samples = metrics();
  EXPECT_EQ(samples.at("polis_xenstore_requests_total{type=\"WRITE\"}"), 5);
  EXPECT_EQ(samples.at("polis_xenstore_events_total"), 6);
  EXPECT_EQ(samples.at("polis_xenstore_watches"), 7);
  EXPECT_EQ(samples.at("polis_xenstore_request_seconds_count"), 3);
  EXPECT_GT(samples.at("polis_xenstore_request_seconds_sum"), 0);
  EXPECT_EQ(samples.at("polis_console_output_bytes_total"), 8);
}

TEST_F(MetricsTest, DomainsAreCountedByStateAndShownOneByOne) {
  domain::DomainRecord& first = start(1, "one");
  start(700, "two").is_paused.store(true);
  first.run_time_ns.store(1'500'000'000);
  std::memset(machine::memory_of(1).extent.begin(), 1, 3 * kPageSize);
  const auto samples = metrics();
  EXPECT_EQ(samples.at("polis_domains{state=\"running\"}"), 1);
  EXPECT_EQ(samples.at("polis_domains{state=\"paused\"}"), 1);
  EXPECT_EQ(samples.at("polis_domains_memory_bytes"), 2 * 1024 * 4096);
  EXPECT_EQ(samples.at("polis_domain_memory_bytes{domid=\"1\",name=\"one\"}"), 1024 * 4096);
  EXPECT_EQ(samples.at("polis_domain_resident_bytes{domid=\"1\",name=\"one\"}"), 3 * 4096);
  EXPECT_EQ(samples.at("polis_domain_resident_bytes{domid=\"700\",name=\"two\"}"), 0);
  EXPECT_EQ(samples.at("polis_domain_cpu_seconds_total{domid=\"1\",name=\"one\"}"), 1.5);
  for (const auto& [sample, value] : metrics(false)) EXPECT_FALSE(sample.starts_with("polis_domain_")) << sample;
}

TEST_F(MetricsTest, LookingCostsNoMemory) {
  start(1, "one");
  metrics();
  const uint64_t before = machine_.resident_bytes();
  metrics();
  EXPECT_EQ(machine_.resident_bytes(), before);
}

TEST_F(MetricsTest, ValuesOfLabelsAreEscaped) {
  const std::string text = metrics_text(machine_, {.host = {{"odd", "a\"b\\c\nd"}}});
  EXPECT_THAT(text, testing::HasSubstr("polis_info{odd=\"a\\\"b\\\\c\\nd\"} 1\n"));
  parse(text);
}

// Debian's package prometheus has promtool.
TEST_F(MetricsTest, PromtoolFindsNoFault) {
  if (std::system("command -v promtool >/dev/null") != 0) GTEST_SKIP() << "promtool is not installed";
  start(1, "one");
  machine::count(machine::statistics_of(0).hypercalls[__HYPERVISOR_sched_op], 10);
  const std::string path = testing::TempDir() + "metrics.txt";
  std::ofstream(path) << metrics_text(machine_, {.host = {{"backend", "hosted"}}});
  EXPECT_EQ(std::system(("promtool check metrics < " + path).c_str()), 0);
}

}  // namespace
}  // namespace xenopolis::toolstack
