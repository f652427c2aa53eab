// What watches and connections that have nothing to do with a request cost it.
#include <deque>

#include "library_client.h"
#include "raw_client.h"
#include "scene.h"

namespace xenopolis::bench {
namespace {

const std::string kPath = "/bench/target";
// Of one connection: the C daemon compares a new watch with all that its connection has.
constexpr uint32_t kWatchesPerConnection = 1'000;

class WatchesScene final : public Scene {
 public:
  WatchesScene(Daemon& daemon, uint32_t watches)
      : daemon_(daemon), writer_(daemon.socket_path()), watcher_(daemon.socket_path()) {
    std::vector<std::string> requests;
    for (uint32_t i = 0; i < watches; ++i) {
      requests.push_back(message(XS_WATCH, terminated(fmt::format("/bench/others/{}", i)) + terminated("token")));
      if (requests.size() < kWatchesPerConnection && i + 1 < watches) continue;
      bystanders_.emplace_back(daemon.socket_path()).pipeline(requests);
      requests.clear();
    }
    writer_.ask(XS_WRITE, terminated(kPath));
    watcher_.send(message(XS_WATCH, terminated(kPath) + terminated("token")));
    // The reply and the first event, in either order.
    watcher_.receive();
    watcher_.receive();
  }

  Figures measure(std::string_view, double seconds) override {
    Figures figures;
    std::vector<uint64_t> written;
    sample(figures, daemon_.pid(), "write_fires_one", seconds, [&] {
      const uint64_t before = now_ns();
      writer_.ask(XS_WRITE, terminated(kPath) + "x");
      const uint64_t replied = now_ns();
      require(watcher_.receive().header.type == XS_WATCH_EVENT, "a watch fires");
      written.push_back(replied - before);
    });
    figures["write_ns"] = std::move(written);
    return figures;
  }

 private:
  Daemon& daemon_;
  RawClient writer_, watcher_;
  std::deque<RawClient> bystanders_;
};

class ConnectionsScene final : public Scene {
 public:
  ConnectionsScene(Daemon& daemon, uint32_t connections) : daemon_(daemon) {
    for (uint32_t i = 0; i < connections; ++i) idle_.emplace_back(daemon.socket_path());
    // When the last one has been answered, the others have been accepted.
    if (!idle_.empty()) idle_.back().ask(XS_DIRECTORY, terminated("/"));
    library_.write(kPath, "4");
  }

  Figures measure(std::string_view, double seconds) override {
    Figures figures;
    sample(figures, daemon_.pid(), "read", seconds, [&] { library_.read(kPath); });
    return figures;
  }

 private:
  Daemon& daemon_;
  std::deque<RawClient> idle_;
  LibraryClient library_;
};

}  // namespace

std::unique_ptr<Scene> make_watches_scene(Daemon& daemon, uint32_t at, DaemonCpus) {
  return std::make_unique<WatchesScene>(daemon, at);
}

std::unique_ptr<Scene> make_connections_scene(Daemon& daemon, uint32_t at, DaemonCpus) {
  return std::make_unique<ConnectionsScene>(daemon, at);
}

}  // namespace xenopolis::bench
