#include "crowd.h"

#include <gtest/gtest.h>

#include <map>

#include "domain/registry.h"

namespace xenopolis::testing {
namespace {

using nlohmann::json;

constexpr unsigned kWindow = 16;

}  // namespace

void expect_beats(LiveHost& host, const std::set<DomId>& domids, const std::string& when) {
  std::map<DomId, uint64_t> before;
  for (const DomId domid : domids) before[domid] = domain::record_of(domid).hypercalls.load();
  EXPECT_TRUE(host.await([&] {
    std::erase_if(before, [](const auto& was) { return domain::record_of(was.first).hypercalls.load() > was.second; });
    return before.empty();
  })) << before.size()
      << " domains do not beat " << when;
}

void Crowd::fill() {
  unsigned asked = 0, under_way = 0;
  EXPECT_TRUE(host_.await([&] {
    for (; asked < kDomains && under_way < kWindow; ++asked, ++under_way) {
      host_.control().request({{"op", "create"},
                               {"name", "citizen-" + std::to_string(asked)},
                               {"image", XENOPOLIS_GUEST_DIR "/citizen"},
                               {"command_line", kBeat}},
                              [&](const Result<json>& answer) {
                                --under_way;
                                ASSERT_TRUE(answer) << answer.error().message();
                                domids_.insert(answer->at("domid").get<DomId>());
                              });
    }
    return asked == kDomains && under_way == 0;
  }));
  ASSERT_EQ(domids_.size(), kDomains);
  host_.machine();  // to look into it also while there is no polisd
}

std::set<DomId> Crowd::running() {
  std::set<DomId> all;
  for (const json& domain : host_.list()) {
    if (domain.at("state") == "running") all.insert(domain.at("domid").get<DomId>());
  }
  return all;
}

void Crowd::expect_all_well(const std::string& when) {
  expect_all_beat(when);
  const auto created = host_.create("one-more", "citizen");
  ASSERT_TRUE(created) << when << ": " << created.error().message();
  std::set<DomId> expected = domids_;
  expected.insert(*created);
  EXPECT_EQ(running(), expected) << when;
  EXPECT_TRUE(host_.ask({{"op", "destroy"}, {"domid", *created}})) << when;
}

}  // namespace xenopolis::testing
