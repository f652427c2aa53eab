// A process with one daemon and one scene. All workers of a kind of scene live at the same time and measure when they
// are told to, one at a time: so repetitions take turns, and a neighbour's noise meets all alike.
#pragma once

#include <sys/types.h>

#include <optional>
#include <utility>

#include "base/fd.h"
#include "scene.h"

namespace xenopolis::bench {

class Worker {
 public:
  // Begins to set the scene up, in `directory`, which it creates. `kind` and `scene` must outlive the worker.
  Worker(const Kind& kind, const SceneKind& scene, uint32_t at, const std::string& directory);
  Worker(Worker&& other) noexcept
      : kind_(other.kind_),
        scene_(other.scene_),
        at_(other.at_),
        begin_ns_(other.begin_ns_),
        socket_(std::move(other.socket_)),
        pid_(std::exchange(other.pid_, 0)) {}
  Worker& operator=(Worker&&) = delete;
  ~Worker();

  const Kind& kind() const { return *kind_; }
  uint32_t at() const { return at_; }

  // Waits until the scene is set up, and says how many seconds that took; nothing when they were more than
  // `patience_s`.
  std::optional<double> wait_until_ready(double patience_s);
  Figures run(std::string_view measurement, double seconds);

 private:
  const Kind* kind_;
  const SceneKind* scene_;
  uint32_t at_;
  uint64_t begin_ns_;
  Fd socket_;
  pid_t pid_ = 0;
};

}  // namespace xenopolis::bench
