#include "cli/top_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace xenopolis::cli {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kSecond = 1'000'000'000;

ListedDomain domain(DomId domid, const std::string& name, uint64_t cpu_time_ns = 0, uint64_t exits = 0) {
  ListedDomain listed;
  listed.domid = domid;
  listed.name = name;
  listed.state = domain::State::kRunning;
  listed.created_ns = 10 * kSecond;
  listed.cpu_time_ns = cpu_time_ns;
  listed.exits = exits;
  return listed;
}

std::vector<std::string> names(const std::vector<TopRow>& rows) {
  std::vector<std::string> names;
  for (const TopRow& row : rows) names.push_back(row.domain.name);
  return names;
}

TEST(TopSampler, FirstSampleIsSinceCreationAndTheNextSinceTheLast) {
  TopSampler sampler;
  const auto first = sampler.sample({domain(1, "a", 2 * kSecond, 400)}, 14 * kSecond);
  EXPECT_DOUBLE_EQ(first[0].cpu_percent, 50);
  EXPECT_DOUBLE_EQ(first[0].exits_per_s, 100);
  const auto second = sampler.sample({domain(1, "a", 3 * kSecond, 400)}, 16 * kSecond);
  EXPECT_DOUBLE_EQ(second[0].cpu_percent, 50);
  EXPECT_DOUBLE_EQ(second[0].exits_per_s, 0);
}

TEST(TopSampler, NextDomainWithADomidIsNotTheLastOne) {
  TopSampler sampler;
  sampler.sample({domain(1, "a", 3 * kSecond)}, 14 * kSecond);
  ListedDomain successor = domain(1, "b", kSecond);
  successor.created_ns = 15 * kSecond;
  EXPECT_DOUBLE_EQ(sampler.sample({successor}, 17 * kSecond)[0].cpu_percent, 50);
}

TEST(TopSampler, NoTimeAndCountersThatGoBackAreNoRates) {
  TopSampler sampler;
  EXPECT_DOUBLE_EQ(sampler.sample({domain(1, "a", kSecond)}, 10 * kSecond)[0].cpu_percent, 0);
  EXPECT_DOUBLE_EQ(sampler.sample({domain(1, "a", 0)}, 11 * kSecond)[0].cpu_percent, 0);
}

TEST(TopRows, EachOrderHasItsFirst) {
  TopSampler sampler;
  auto rows = sampler.sample({domain(3, "b", 5), domain(1, "c", 9), domain(2, "a", 5)}, 20 * kSecond);
  sort_rows(rows, TopOrder::kTime, false);
  EXPECT_THAT(names(rows), ElementsAre("c", "a", "b")) << "equals by domid";
  sort_rows(rows, TopOrder::kTime, true);
  EXPECT_THAT(names(rows), ElementsAre("b", "a", "c"));
  sort_rows(rows, TopOrder::kName, false);
  EXPECT_THAT(names(rows), ElementsAre("a", "b", "c"));
  sort_rows(rows, TopOrder::kDomid, false);
  EXPECT_THAT(names(rows), ElementsAre("c", "a", "b"));
  for (const std::string_view name : kTopOrderNames) EXPECT_TRUE(top_order_named(name)) << name;
  EXPECT_FALSE(top_order_named("speed"));
}

TEST(TopRows, SearchIsByPartOfTheNameOrByDomid) {
  TopSampler sampler;
  const auto rows = sampler.sample({domain(1, "web-17"), domain(17, "db"), domain(2, "Web-2")}, 20 * kSecond);
  EXPECT_THAT(names(matching(rows, "WEB")), ElementsAre("web-17", "Web-2"));
  EXPECT_THAT(names(matching(rows, "17")), ElementsAre("web-17", "db"));
  EXPECT_THAT(matching(rows, ""), ::testing::SizeIs(3));
}

TEST(TopRows, LongNamesLoseTheirMiddleAndKeepTheColumns) {
  TopSampler sampler;
  const std::string start = "frontend-production-of-the-shop-";
  const auto rows = sampler.sample({domain(1, start + "0001"), domain(2, "web")}, 20 * kSecond);
  EXPECT_EQ(top_name_width(rows, 200), start.size() + 4) << "there is room";
  EXPECT_EQ(top_name_width(rows, 80), kTopNameWidth) << "the rest is wanted, too";
  EXPECT_EQ(top_name_width({rows[1]}, 80), 8u) << "no more than they need";
  EXPECT_EQ(top_name_width({}, 1), 8u);
  EXPECT_THAT(top_line(rows[0], 0, 24), ::testing::StartsWith("frontend-pr..e-shop-0001     1 "));
  EXPECT_THAT(top_line(rows[1], 0, 24), ::testing::StartsWith("web                          2 "));
  EXPECT_EQ(top_header(24).find("STATE"), top_line(rows[0], 0, 24).find("------"));
  EXPECT_THAT(top_line(rows[0], 0), ::testing::StartsWith(start + "0001")) << "scripts want it whole";
}

TEST(StateLetters, AreThoseOfXl) {
  ListedDomain listed = domain(1, "a");
  for (const auto& [runstate, letters] : std::initializer_list<std::pair<int, const char*>>{
           {RUNSTATE_running, "r-----"}, {RUNSTATE_runnable, "------"}, {RUNSTATE_blocked, "-b----"}}) {
    listed.runstate = runstate;
    EXPECT_EQ(state_letters(listed), letters) << runstate;
  }
  listed.paused = true;
  EXPECT_EQ(state_letters(listed), "-bp---");
  listed.state = domain::State::kShutdown;
  for (const auto& [reason, letters] : std::initializer_list<std::pair<uint32_t, const char*>>{
           {0, "---s--"}, {1, "---sr-"}, {2, "---ss-"}, {3, "---sc-"}, {4, "---sw-"}, {77, "---s?-"}}) {
    listed.shutdown_reason = reason;
    EXPECT_EQ(state_letters(listed), letters) << reason;
  }
  listed.stage = domain::Stage::kEnding;
  listed.state = domain::State::kDying;
  listed.paused = false;
  EXPECT_EQ(state_letters(listed), "-----d");
}

}  // namespace
}  // namespace xenopolis::cli
