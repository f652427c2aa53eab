#include "run.h"

#include <algorithm>
#include <list>
#include <set>

#include "../environment.h"
#include "goals.h"
#include "results.h"
#include "worker.h"

namespace xenopolis::bench {
namespace {

// What takes so long, because one sample does, is repeated no more often: nothing waits for it then.
constexpr uint64_t kSlowNs = 3'000'000'000;
constexpr uint32_t kRoundsOfSlow = 2;

class Run {
 public:
  explicit Run(const Options& options) : options_(options) {}

  nlohmann::json measure() {
    const Environment here = environment();
    for (const SceneKind& scene : scene_kinds()) {
      const auto& wanted = options_.measurements;
      if (wanted.empty() || std::ranges::find(wanted, scene.name) != wanted.end()) take(scene);
    }
    say("");
    nlohmann::json figures = {
        {"environment", to_json(here)}, {"rounds", options_.rounds}, {"seconds_per_measurement", options_.seconds},
        {"points", results_.to_json()}, {"left_out", left_out_},     {"figures", goals(results_, options_.guests)}};
    for (const Kind& kind : options_.daemons) {
      figures["daemons"].push_back({{"name", kind.name}, {"description", kind.description}});
    }
    return figures;
  }

 private:
  static void say(const std::string& what) {
    if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{:<60}\r", what);
  }

  const std::vector<uint32_t>& numbers_for(const SceneKind& scene) const {
    if (scene.name == "directory") return options_.children;
    if (scene.name == "watches") return options_.watches;
    if (scene.name == "connections") return options_.connections;
    if (scene.name == "guests") return options_.guests;
    return options_.clients;
  }

  void take(const SceneKind& scene) {
    // One daemon's numbers next to each other, because their growth is the finest thing that is looked for.
    std::list<Worker> workers;
    for (const Kind& kind : options_.daemons) {
      if (scene.needs_guests && !kind.has_guests) continue;
      for (const uint32_t at : numbers_for(scene)) {
        workers.emplace_back(kind, scene, at, fmt::format("{}/{}", options_.directory, ++workers_begun_));
      }
    }
    for (auto worker = workers.begin(); worker != workers.end();) {
      say(fmt::format("{}: {} at {} is set up", scene.name, worker->kind().name, worker->at()));
      if (const auto setup_s = worker->wait_until_ready(options_.patience_s)) {
        results_.add({std::string(scene.name), worker->kind().name, worker->at()}, {{"setup_s", *setup_s}});
        ++worker;
        continue;
      }
      left_out_.push_back(fmt::format("{}: {} at {} was not set up within {} s", scene.name, worker->kind().name,
                                      worker->at(), options_.patience_s));
      worker = workers.erase(worker);
    }
    std::vector<Worker*> turns;
    for (Worker& worker : workers) turns.push_back(&worker);
    std::set<Point> slow;
    for (uint32_t round = 0; round < options_.rounds; ++round) {
      for (const std::string_view measurement : scene.measurements) {
        for (Worker* worker : turns) {
          const Point point{std::string(measurement), worker->kind().name, worker->at()};
          if (round >= kRoundsOfSlow && slow.contains(point)) continue;
          say(fmt::format("round {} of {}: {}, {} at {}", round + 1, options_.rounds, measurement, point.daemon,
                          point.at));
          const uint64_t begin = now_ns();
          results_.add(point, worker->run(measurement, options_.seconds));
          if (now_ns() - begin > kSlowNs) slow.insert(point);
        }
      }
      std::ranges::reverse(turns);  // a machine that slows down or speeds up favours nobody
    }
  }

  const Options& options_;
  Results results_;
  std::vector<std::string> left_out_;
  unsigned workers_begun_ = 0;
};

}  // namespace

nlohmann::json run(const Options& options) {
  return Run(options).measure();
}

}  // namespace xenopolis::bench
