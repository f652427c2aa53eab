#include "experiment/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "experiment/chart.h"
#include "experiment/published.h"
#include "experiment/report_text.h"

namespace xenopolis::experiment {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

nlohmann::json a_run(const std::string& abi, uint32_t domains) {
  nlohmann::json groups = nlohmann::json::array();
  for (uint32_t last = 1; last <= domains; last = last * 4 / 3 + 1) {
    groups.push_back({{"first", last}, {"last", last}, {"p10_ms", 0.9}, {"p50_ms", 1.0}, {"p90_ms", 4.5}});
  }
  const nlohmann::json load{{"polis-xenstored", {{"cpu_s", 0.5}, {"memory_kib", 4000}}},
                            {"polis-cell", {{"cpu_s", 1.5}, {"memory_kib", 9000}}}};
  return {{"backend", "kvm"},
          {"event_abi", abi},
          {"domains_requested", domains},
          {"domains_up", domains},
          {"domains_alive_at_end", domains},
          {"creation_window", 4},
          {"memory_mib_per_domain", 4},
          {"wall_s_to_all_up", 0.00125 * domains},
          {"create_to_up_ms", {{"p50", 1.0}, {"p99", 4.0}, {"first_300_mean", 1.5}, {"last_300_mean", 3.0}}},
          {"create_to_up_by_domain", groups},
          {"create_to_up_evenly", groups},
          {"ping_us",
           {{"count", 1000},
            {"p50", 71.0},
            {"p99", 644.0},
            {"max", 900.0},
            {"curve", {{0.1, 50.0}, {0.5, 71.0}, {0.99, 644.0}}}}},
          {"steady_s", 10.0},
          {"beats", 10 * domains},
          {"memory_kib_per_domain", 643.0},
          {"floor_ms_per_vm", 0.93},
          {"creation_load", load},
          {"steady_load", load}};
}

nlohmann::json a_sweep() {
  nlohmann::json wall = a_run("2l", 3000);
  wall["domains_up"] = 1023;
  wall["domains_alive_at_end"] = 1023;
  wall["wall"] = {{"domain", 1024}, {"error", "binding: No space left on device"}};
  return {{"version", "1.2.3"},
          {"command", "polis experiment --sweep 100,3000 --event-abi fifo,2l"},
          {"machine",
           {{"cpu", "Processor <of> \"ours\" & theirs"},
            {"cpus", 2},
            {"memory_mib", 24105},
            {"kernel", "Linux 6.1"},
            {"hypervisor", "none"},
            {"date", "2026-11-23T05:33:20Z"}}},
          {"planned_runs", 3},
          {"runs", {a_run("fifo", 100), a_run("fifo", 3000), wall}},
          {"peers",
           {{{"name", "bwrap"},
             {"what", "bubblewrap 0.8.0"},
             {"wanted", 1000},
             {"started", 1000},
             {"each_p50_ms", 3.5},
             {"each_p99_ms", 6.0},
             {"wall_ms_each", 2.0},
             {"memory_kib_each", 717.0},
             {"note", ""}}}}};
}

std::string page_of(const nlohmann::json& json) {
  const auto sweep = read_sweep(json);
  EXPECT_TRUE(sweep);
  const auto page = report_page(*sweep);
  EXPECT_TRUE(page);
  return page.value_or("");
}

// Not a validator: that what is opened is closed, in the right order.
void expect_balanced(const std::string& markup) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-zA-Z0-9]+)[^>]*?(/?)>");
  const std::set<std::string> alone{"meta", "link", "br"};
  for (std::sregex_iterator at(markup.begin(), markup.end(), tag), end; at != end; ++at) {
    const std::string name = (*at)[2];
    if ((*at)[3] == "/" || alone.contains(name)) continue;
    if ((*at)[1] == "/") {
      ASSERT_FALSE(open.empty()) << name;
      ASSERT_EQ(open.back(), name) << "at " << at->position();
      open.pop_back();
    } else {
      open.push_back(name);
    }
  }
  EXPECT_TRUE(open.empty()) << open.back();
}

TEST(ReportTest, PageNeedsNothingButItself) {
  const std::string page = page_of(a_sweep());
  expect_balanced(page);
  for (const char* foreign : {"<script", "<img", "@import", "url(", "<iframe", "<object"}) {
    EXPECT_THAT(page, Not(HasSubstr(foreign)));
  }
  // Addresses are in links only, which nobody fetches unasked, and in the name of SVG's namespace.
  const std::regex address("https?://");
  for (std::sregex_iterator at(page.begin(), page.end(), address), end; at != end; ++at) {
    const std::string before = page.substr(static_cast<size_t>(at->position()) - 9, 9);
    EXPECT_TRUE(before == "<a href=\"" || before.substr(2) == "xmlns=\"") << before;
  }
}

TEST(ReportTest, TellsWhereAnAbiEndsAndWithWhichError) {
  const std::string page = page_of(a_sweep());
  EXPECT_THAT(page, HasSubstr("2-level ends: domain 1,024"));
  EXPECT_THAT(page, HasSubstr("<strong>domain 1,024</strong>: binding: No space left on device"));
  EXPECT_THAT(page, HasSubstr("not met with 3,000 domains"));
  EXPECT_THAT(page, HasSubstr("not tried")) << "3-level";
}

TEST(ReportTest, SaysWhatWasMeasured) {
  const std::string page = page_of(a_sweep());
  EXPECT_THAT(page, HasSubstr("<h1>3,000 Xen domains on 2 CPUs</h1>"));
  EXPECT_THAT(page, HasSubstr("1.25 ms"));
  EXPECT_THAT(page, HasSubstr("643 KiB"));
  EXPECT_THAT(page, HasSubstr("71.0 µs"));
  EXPECT_THAT(page, HasSubstr("2.00 times as long"));
  EXPECT_THAT(page, HasSubstr("polis experiment --sweep 100,3000"));
  EXPECT_THAT(page, HasSubstr("bubblewrap 0.8.0"));
  EXPECT_THAT(page, Not(HasSubstr("class=\"warning\"")));
}

TEST(ReportTest, EveryFigureOfOthersHasASourceAndHardware) {
  const std::string page = page_of(a_sweep());
  EXPECT_THAT(page, HasSubstr("Not measured by us"));
  for (const Published& theirs : published()) {
    EXPECT_FALSE(theirs.source.empty() || theirs.hardware.empty() || theirs.what.empty()) << theirs.who;
    EXPECT_THAT(page, HasSubstr(escape_xml(theirs.source)));
    EXPECT_THAT(page, HasSubstr(escape_xml(theirs.hardware)));
  }
}

TEST(ReportTest, DiagramsHaveTitlesAndDescriptions) {
  const std::string page = page_of(a_sweep());
  const std::regex picture("<svg [^>]*role=\"img\" aria-labelledby=\"([a-z0-9-]+)-t ([a-z0-9-]+)-d\"");
  std::set<std::string> names;
  for (std::sregex_iterator at(page.begin(), page.end(), picture), end; at != end; ++at) {
    const std::string name = (*at)[1];
    EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
    EXPECT_THAT(page, HasSubstr("<title id=\"" + name + "-t\">"));
    EXPECT_THAT(page, Not(HasSubstr("<desc id=\"" + name + "-d\"></desc>")));
  }
  // Creation, all up, per domain, in order, two ABIs' latencies, memory, two loads; each wide and narrow.
  EXPECT_EQ(names.size(), 18u);
}

TEST(ReportTest, TextOfOthersIsText) {
  nlohmann::json sweep = a_sweep();
  sweep["runs"][0]["problems"] = {"<script>alert(1)</script>"};
  const std::string page = page_of(sweep);
  EXPECT_THAT(page, HasSubstr("Processor &lt;of&gt; &quot;ours&quot; &amp; theirs"));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
}

TEST(ReportTest, SaysWhatXenstoreAndConsolesWereAskedToDo) {
  nlohmann::json sweep = a_sweep();
  EXPECT_THAT(page_of(sweep), Not(HasSubstr("requests to xenstore")));  // nothing in older results
  sweep["runs"][1]["creation_traffic"] = {{"xenstore_requests", 3000 * 77}, {"console_bytes", 3000 * 40}};
  sweep["runs"][1]["steady_traffic"] = {{"xenstore_requests", 50}};
  const std::string page = page_of(sweep);
  EXPECT_THAT(
      page, HasSubstr("<th scope=\"row\">requests to xenstore</th><td class=\"n\">77.0</td><td class=\"n\">5.00</td>"));
  EXPECT_THAT(page, HasSubstr("<th scope=\"row\">bytes written to consoles</th><td class=\"n\">40.0</td>"));
  EXPECT_THAT(page, Not(HasSubstr("transactions")));  // there were none
}

TEST(ReportTest, FloorIsThatOfEachNumberOfDomainsInWhicheverRunItWas) {
  nlohmann::json sweep = a_sweep();
  sweep["runs"][1]["floor_ms_per_vm"] = nullptr;
  sweep["runs"][2]["floor_ms_per_vm"] = 0.75;  // of 3,000, though 1,023 came up
  const std::string page = page_of(sweep);
  EXPECT_THAT(page, HasSubstr("bare VM 0.750 ms"));
}

TEST(ReportTest, WhatDidNotGoWellIsSaid) {
  nlohmann::json sweep = a_sweep();
  sweep["interrupted"] = true;
  sweep["planned_runs"] = 6;
  sweep["runs"][0]["beats_missed"] = 17;
  sweep["runs"][1]["domains_alive_at_end"] = 2990;
  const std::string page = page_of(sweep);
  EXPECT_THAT(page, HasSubstr("interrupted: 3 of 6 runs are here"));
  EXPECT_THAT(page, HasSubstr("17 of 1,017 beats"));
  EXPECT_THAT(page, HasSubstr("10 of 3000 domains had ended"));
}

TEST(ReportTest, OneRunOfOneDomainIsEnough) {
  nlohmann::json run = a_run("fifo", 1);
  run["ping_us"] = nlohmann::json::object();
  run["memory_kib_per_domain"] = -100.0;
  run["creation_load"] = run["steady_load"] = nlohmann::json::object();
  const std::string page = page_of(run);
  EXPECT_THAT(page, HasSubstr("1 Xen domain on"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("inf\"")));
  expect_balanced(page);
}

TEST(ReportTest, NothingUpIsNothingToReport) {
  nlohmann::json run = a_run("fifo", 5);
  run["domains_up"] = 0;
  const auto sweep = read_sweep(run);
  ASSERT_TRUE(sweep);
  EXPECT_FALSE(report_page(*sweep));
  EXPECT_FALSE(report_picture(*sweep));
}

TEST(ReportTest, OtherFilesAreRefused) {
  EXPECT_FALSE(read_sweep({{"runs", "none"}}));
  EXPECT_FALSE(read_sweep({{"runs", {{{"domains_up", "many"}}}}}));
  EXPECT_FALSE(read_sweep_file("/proc/self/cmdline"));
  EXPECT_FALSE(read_sweep_file("/nonexistent/results.json"));
}

TEST(ReportTest, PictureIsAFileOfItsOwn) {
  const auto sweep = read_sweep(a_sweep());
  const auto picture = report_picture(*sweep);
  ASSERT_TRUE(picture);
  expect_balanced(*picture);
  EXPECT_EQ(picture->rfind("<svg xmlns=\"http://www.w3.org/2000/svg\"", 0), 0u);
  EXPECT_THAT(*picture, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(*picture, HasSubstr("the peers (violet) only sleep"));
  EXPECT_THAT(*picture, HasSubstr("How long one more Xen domain takes, beside up to 3,000 on 2 CPUs"));
}

// --- diagrams

TEST(ChartTest, LogarithmicAxisHasEvenDecades) {
  const Axis x = axis_for(Axis::Kind::kLogarithmic, {1, 10000}, "x");
  const Axis y = axis_for(Axis::Kind::kLinear, {0, 10}, "y");
  const Chart chart(500, 300, {}, x, y);
  EXPECT_NEAR(chart.x_of(100) - chart.x_of(10), chart.x_of(1000) - chart.x_of(100), 1e-9);
  EXPECT_GT(chart.y_of(1), chart.y_of(9));
}

TEST(ChartTest, AxesHoldAllValues) {
  for (const auto kind : {Axis::Kind::kLinear, Axis::Kind::kLogarithmic}) {
    for (const std::vector<double>& values :
         {std::vector<double>{3}, {0.07, 0.9}, {1, 1}, {30, 100, 10000}, {0.00012, 99999}}) {
      const Axis axis = axis_for(kind, values, "");
      EXPECT_LE(axis.low, *std::min_element(values.begin(), values.end()) * 1.001);
      EXPECT_GE(axis.high, *std::max_element(values.begin(), values.end()) * 0.999);
      EXPECT_LT(axis.low, axis.high);
    }
  }
}

std::vector<double> heights_of_labels(const std::string& svg) {
  std::vector<double> heights;
  const std::regex label("class=\"label fifo\" x=\"[0-9.]+\" y=\"([0-9.]+)\"");
  for (std::sregex_iterator at(svg.begin(), svg.end(), label), end; at != end; ++at)
    heights.push_back(std::stod((*at)[1]));
  std::sort(heights.begin(), heights.end());
  return heights;
}

TEST(ChartTest, TicksThatHaveNoRoomAreNotNamed) {
  Axis x{Axis::Kind::kLinear, 0, 100, "x", {{0, "0 %"}, {97, "97.000 %"}, {100, "100.000 %"}}};
  Chart chart(300, 200, {}, x, axis_for(Axis::Kind::kLinear, {10}, "y"));
  const std::string svg = chart.svg({"id", "title", "description", "wide", "", "", 0, 0, 0});
  EXPECT_THAT(svg, HasSubstr(">0 %</text>"));
  EXPECT_THAT(svg, HasSubstr(">100.000 %</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">97.000 %</text>")));
}

TEST(ChartTest, LabelsDoNotLieOnEachOther) {
  Chart chart(500, 300, {}, axis_for(Axis::Kind::kLinear, {10}, "x"), axis_for(Axis::Kind::kLinear, {100}, "y"));
  for (int line = 0; line < 6; ++line) chart.end_label({10, 50.0 + line * 0.1}, "fifo", "a label");
  const auto heights = heights_of_labels(chart.svg({"id", "title", "description", "wide", "", "", 0, 0, 0}));
  ASSERT_EQ(heights.size(), 6u);
  for (size_t index = 1; index < heights.size(); ++index) EXPECT_GE(heights[index] - heights[index - 1], 12);
}

TEST(ChartTest, LabelsDoNotLieOnEachOtherAtTheEdgeEither) {
  Chart chart(500, 300, {}, axis_for(Axis::Kind::kLinear, {10}, "x"), axis_for(Axis::Kind::kLinear, {100}, "y"));
  // Two that are moved up from the edge, and one that was just above them.
  for (const double y : {0.0, 0.0, 7.0}) chart.end_label({10, y}, "fifo", "a label");
  const auto heights = heights_of_labels(chart.svg({"id", "title", "description", "wide", "", "", 0, 0, 0}));
  ASSERT_EQ(heights.size(), 3u);
  for (size_t index = 1; index < heights.size(); ++index) EXPECT_GE(heights[index] - heights[index - 1], 14.9);
  EXPECT_LT(heights.back(), 300 - 44 + 10);
}

TEST(LabelPlacementTest, LabelsLieNeitherOnEachOtherNorOnWhatIsDrawn) {
  // A wall through a crowd of points, and lines that begin and end at them.
  Obstacles drawn;
  std::vector<WantedLabel> wanted;
  for (const double y : {40.0, 52.0, 60.0, 90.0, 100.0, 150.0}) {
    drawn.boxes.push_back({195, y - 5, 205, y + 5});
    wanted.push_back({{{200, y}}, 80});
  }
  drawn.lines = {{{202, 0}, {202, 200}}, {{0, 30}, {200, 60}}, {{200, 100}, {400, 90}}};
  const Box within{0, 0, 400, 200};
  const auto labels = place_labels(wanted, drawn, within);
  ASSERT_EQ(labels.size(), wanted.size());
  for (size_t index = 0; index < labels.size(); ++index) {
    const Box& box = labels[index].box;
    EXPECT_TRUE(box.left >= 0 && box.right <= 400 && box.top >= 0 && box.bottom <= 200) << index;
    for (const Box& mark : drawn.boxes) EXPECT_FALSE(overlap(box, mark)) << index;
    for (size_t other = 0; other < index; ++other) EXPECT_FALSE(overlap(box, labels[other].box)) << index << other;
    for (const auto& line : drawn.lines) EXPECT_FALSE(crosses(box, line[0], line[1])) << index;
  }
}

TEST(LabelPlacementTest, LabelOfALineTakesTheEndThatHasRoom) {
  Obstacles drawn;
  drawn.boxes = {{0, 0, 150, 200}};
  const auto labels = place_labels({{{{50, 100}, {250, 100}}, 60}}, drawn, {0, 0, 400, 200});
  EXPECT_EQ(labels[0].at.x, 250);
  EXPECT_EQ(labels[0].anchor, "start");
  EXPECT_FALSE(labels[0].needs_leader);
}

TEST(LabelPlacementTest, DistantLabelHasALeader) {
  Obstacles drawn;
  drawn.boxes = {{170, 70, 230, 130}};
  const auto labels = place_labels({{{{200, 100}}, 60}}, drawn, {0, 0, 400, 200});
  EXPECT_TRUE(labels[0].needs_leader);
  EXPECT_FALSE(overlap(labels[0].box, drawn.boxes[0]));
}

TEST(TextTest, FiguresHaveThreeDigitsThatCount) {
  EXPECT_EQ(milliseconds(0.0714), "71.4 µs");
  EXPECT_EQ(three_digits(0), "0");
  EXPECT_EQ(milliseconds(0.9034), "0.903 ms");
  EXPECT_EQ(milliseconds(2713), "2.71 s");
  EXPECT_EQ(milliseconds(100'000), "100 s");
  EXPECT_EQ(kibibytes(643.2), "643 KiB");
  EXPECT_EQ(kibibytes(12 * 1024), "12.0 MiB");
  EXPECT_EQ(thousands(1234567), "1,234,567");
  EXPECT_EQ(thousands(999), "999");
  EXPECT_EQ(thousands(-1000), "-1,000");
}

}  // namespace
}  // namespace xenopolis::experiment
