// What is measured: scenes of a daemon with so many domains, watches or connections.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/basics.h"
#include "common/placement.h"
#include "common/scenes.h"
#include "daemon.h"

namespace xenopolis::bench {

struct SceneKind {
  std::string_view name;
  std::vector<std::string_view> measurements;
  bool needs_guests;
  // It measures on the daemon's CPU.
  std::unique_ptr<Scene> (*make)(Daemon& daemon, uint32_t at, DaemonCpus cpus);
};

// Single requests, pipelined ones, transactions; `at`: clients in conflict.
std::unique_ptr<Scene> make_requests_scene(Daemon& daemon, uint32_t at, DaemonCpus cpus);
// `at`: children of one directory.
std::unique_ptr<Scene> make_directory_scene(Daemon& daemon, uint32_t at, DaemonCpus cpus);
// `at`: watches that a write does not fire, beside one that it does.
std::unique_ptr<Scene> make_watches_scene(Daemon& daemon, uint32_t at, DaemonCpus cpus);
// `at`: connections that nobody uses.
std::unique_ptr<Scene> make_connections_scene(Daemon& daemon, uint32_t at, DaemonCpus cpus);
// `at`: domains introduced, each with its nodes and with one watch.
std::unique_ptr<Scene> make_guests_scene(Daemon& daemon, uint32_t at, DaemonCpus cpus);

inline const std::vector<SceneKind>& scene_kinds() {
  static const std::vector<SceneKind> kinds = {
      {"requests", {"single", "pipelined", "transactions", "conflict"}, false, make_requests_scene},
      {"directory", {"directory"}, false, make_directory_scene},
      {"watches", {"watches"}, false, make_watches_scene},
      {"connections", {"connections"}, false, make_connections_scene},
      {"guests", {"create", "rings", "memory"}, true, make_guests_scene},
  };
  return kinds;
}

}  // namespace xenopolis::bench
