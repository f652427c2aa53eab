#include "common/scenes.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <set>

#include "common/basics.h"
#include "common/environment.h"
#include "common/worker.h"

namespace xenopolis::bench {
namespace {

// What takes so long, because one sample does, is repeated no more often: nothing waits for it then.
constexpr uint64_t kSlowNs = 3'000'000'000;
constexpr uint32_t kRoundsOfSlow = 2;

struct Turn {
  const SceneSet::Entry& entry;
  Worker worker;
};

Worker::Serve set_up(const SceneSet::Entry& entry) {
  use_all_descriptors();
  // std::function wants to be copied.
  const std::shared_ptr<Scene> scene = entry.make();
  return [scene, begun = false](const nlohmann::json& request) mutable {
    if (!std::exchange(begun, true)) scene->begin();
    return scene->measure(request.at("measurement").get<std::string>(), request.at("seconds").get<double>());
  };
}

}  // namespace

Point point_of(std::string_view measurement, const std::string& daemon, uint32_t at) {
  return {{"measurement", measurement}, {"daemon", daemon}, {"at", at}};
}

void Rounds::take(const SceneSet& set) {
  std::list<Turn> all;
  for (const SceneSet::Entry& entry : set.entries) {
    all.push_back({entry, Worker(fmt::format("{}, {} at {}", entry.daemon, set.name, entry.at),
                                 [&entry] { return set_up(entry); })});
  }
  for (auto turn = all.begin(); turn != all.end();) {
    const SceneSet::Entry& entry = turn->entry;
    say_progress(fmt::format("{}: {} at {} is set up", set.name, entry.daemon, entry.at));
    if (const auto setup_s = turn->worker.wait_until_ready(options_.patience_s)) {
      results_.add(point_of(set.name, entry.daemon, entry.at), {{"setup_s", *setup_s}});
      ++turn;
      continue;
    }
    leave_out(
        fmt::format("{}: {} at {} was not set up within {} s", set.name, entry.daemon, entry.at, options_.patience_s));
    turn = all.erase(turn);
  }
  std::vector<Turn*> turns;
  for (Turn& turn : all) turns.push_back(&turn);
  std::set<Point> slow;
  for (uint32_t round = 0; round < options_.rounds; ++round) {
    for (const std::string_view measurement : set.measurements) {
      for (Turn* turn : turns) {
        const SceneSet::Entry& entry = turn->entry;
        const Point point = point_of(measurement, entry.daemon, entry.at);
        if (round >= kRoundsOfSlow && slow.contains(point)) continue;
        say_progress(fmt::format("round {} of {}: {}, {} at {}", round + 1, options_.rounds, measurement, entry.daemon,
                                 entry.at));
        const uint64_t begin = now_ns();
        results_.add(point, turn->worker.ask({{"measurement", measurement}, {"seconds", options_.seconds}},
                                             std::string(measurement)));
        if (now_ns() - begin > kSlowNs) slow.insert(point);
      }
    }
    std::ranges::reverse(turns);  // a machine that slows down or speeds up favours nobody
  }
}

nlohmann::json Rounds::to_json(const nlohmann::json& here) const {
  say_progress("");
  return {{"environment", here},
          {"rounds", options_.rounds},
          {"seconds_per_measurement", options_.seconds},
          {"points", results_.to_json({.percentiles = {{"p50", 0.5}, {"p99", 0.99}}})},
          {"left_out", left_out_}};
}

}  // namespace xenopolis::bench
