// For commands that go on looking at a machine: whether its host is still there.
#pragma once

#include <memory>

#include "cli/host_client.h"

namespace xenopolis::cli {

// A polisd that is killed is started again, and the machine is the same; when nobody comes, the host has ended.
class HostWatch {
 public:
  // `client` must outlive the watch, and be told of nothing else.
  explicit HostWatch(HostClient& client) : directory_(client.directory()) {
    client.control().on_disconnect([this] { is_lost_ = true; });
  }
  // May take some seconds when polisd has just gone.
  bool is_there() {
    if (next_ && !next_->loop().run_once(0)) return false;
    if (!is_lost_) return true;
    auto next = HostClient::connect(directory_);
    if (!next) return false;
    next_ = *std::move(next);
    is_lost_ = false;
    next_->control().on_disconnect([this] { is_lost_ = true; });
    return true;
  }
  // Once in a while, so that the new polisd's end is seen, too.
  Status look() { return next_ ? next_->loop().run_once(0) : Status{}; }

 private:
  const std::string directory_;
  bool is_lost_ = false;
  std::unique_ptr<HostClient> next_;
};

}  // namespace xenopolis::cli
