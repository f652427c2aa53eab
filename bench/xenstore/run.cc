#include "run.h"

#include <algorithm>
#include <filesystem>

#include "common/environment.h"
#include "scene.h"

namespace xenopolis::bench {
namespace {

class WithDaemon final : public Scene {
 public:
  WithDaemon(const Kind& kind, const SceneKind& scene, uint32_t at, const std::string& directory) {
    std::filesystem::create_directories(directory);
    daemon_ = kind.start(kind, directory);
    setenv("XENSTORED_PATH", daemon_->socket_path().c_str(), 1);
    scene_ = scene.make(*daemon_, at, cpus_);
  }
  void begin() override {
    pin(daemon_->pid(), cpus_.daemon);
    pin(0, cpus_.daemon);
  }
  Figures measure(std::string_view measurement, double seconds) override {
    return scene_->measure(measurement, seconds);
  }

 private:
  const DaemonCpus cpus_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Scene> scene_;
};

const std::vector<uint32_t>& numbers_for(const SceneKind& scene, const Options& options) {
  if (scene.name == "directory") return options.children;
  if (scene.name == "watches") return options.watches;
  if (scene.name == "connections") return options.connections;
  if (scene.name == "guests") return options.guests;
  return options.clients;
}

}  // namespace

nlohmann::json run(const Options& options) {
  const nlohmann::json here = environment();
  Rounds rounds(options.rounds);
  unsigned directories = 0;
  for (const SceneKind& scene : scene_kinds()) {
    const auto& wanted = options.measurements;
    if (!wanted.empty() && std::ranges::find(wanted, scene.name) == wanted.end()) continue;
    SceneSet set{std::string(scene.name), scene.measurements, {}};
    for (const Kind& kind : options.daemons) {
      if (scene.needs_guests && !kind.has_guests) continue;
      for (const uint32_t at : numbers_for(scene, options)) {
        const std::string directory = fmt::format("{}/{}", options.directory, ++directories);
        set.entries.push_back({kind.name, at, [&kind, &scene, at, directory]() -> std::unique_ptr<Scene> {
                                 return std::make_unique<WithDaemon>(kind, scene, at, directory);
                               }});
      }
    }
    rounds.take(set);
  }
  nlohmann::json figures = rounds.to_json(here);
  figures["figures"] = goals(rounds.results(), options.guests);
  for (const Kind& kind : options.daemons) {
    figures["daemons"].push_back({{"name", kind.name}, {"description", kind.description}});
  }
  return figures;
}

}  // namespace xenopolis::bench
