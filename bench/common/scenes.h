// Daemons side by side. A scene is one daemon with so many domains, or connections, or whatever is said; it lives in a
// process of its own, and measurements are repeated there.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/basics.h"
#include "common/process_usage.h"
#include "common/results.h"

namespace xenopolis::bench {

class Scene {
 public:
  virtual ~Scene() = default;
  // Once, when it has been set up and before it measures; set-ups of several go on at the same time.
  virtual void begin() {}
  // For about so long, but each thing that is measured once at least.
  virtual Figures measure(std::string_view measurement, double seconds) = 0;
};

// What is told apart in the figures: {measurement, daemon, at}.
Point point_of(std::string_view measurement, const std::string& daemon, uint32_t at);

// Scenes that take turns: one daemon's numbers next to each other, because their growth is the finest thing that is
// looked for.
struct SceneSet {
  struct Entry {
    std::string daemon;
    uint32_t at;
    std::function<std::unique_ptr<Scene>()> make;  // called in the process
  };

  std::string name;
  std::vector<std::string_view> measurements;
  std::vector<Entry> entries;
};

struct RoundsOptions {
  uint32_t rounds = 5;
  double seconds = 0.1;     // that most measurements take, per repetition
  double patience_s = 240;  // a scene that takes longer to be set up is left out
};

class Rounds {
 public:
  explicit Rounds(const RoundsOptions& options) : options_(options) {}

  // Sets all scenes up, and measures each round with all of them. "setup_s" is a figure of each, under the set's name.
  void take(const SceneSet& set);
  // For what has no figures, and why.
  void leave_out(std::string what) { left_out_.push_back(std::move(what)); }

  const Results& results() const { return results_; }
  // {environment, rounds, seconds_per_measurement, points, left_out}; `here`: on what it ran.
  nlohmann::json to_json(const nlohmann::json& here) const;

 private:
  const RoundsOptions options_;
  Results results_;
  std::vector<std::string> left_out_;
};

// Repeats `body` for `seconds`: NAME_ns are the times that it took, NAME_daemon_cpu_ns is the daemon's CPU time for
// one.
template <class Body>
void sample(Figures& figures, pid_t daemon, const std::string& name, double seconds, Body&& body) {
  constexpr size_t kMost = 20'000;
  std::vector<uint64_t> times;
  const uint64_t cpu_before = cpu_ns_of(daemon);
  const uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9);
  for (uint64_t before = now_ns(), after = 0; after < end && times.size() < kMost; before = after) {
    body();
    after = now_ns();
    times.push_back(after - before);
  }
  figures[name + "_daemon_cpu_ns"] =
      static_cast<double>(cpu_ns_of(daemon) - cpu_before) / static_cast<double>(times.size());
  figures[name + "_ns"] = std::move(times);
}

}  // namespace xenopolis::bench
