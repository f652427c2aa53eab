// Sees domains come up on their consoles: follows the log files that polis-consoled writes.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::experiment {

// One inotify watch on the directory; a file is read only when it has changed, and no more once its text was seen.
class ConsoleWatch {
 public:
  using Seen = std::function<void(const std::string& name)>;

  static Result<std::unique_ptr<ConsoleWatch>> start(EventLoop& loop, std::string directory, Seen seen);
  ~ConsoleWatch();

  // Calls `seen` once when `text` is in DIRECTORY/NAME.log, even if it is already.
  void expect(const std::string& name, const std::string& text);

 private:
  struct Expectation {
    std::string text;
    uint64_t offset = 0;  // what was read, less what may be the text's beginning
  };

  ConsoleWatch(EventLoop& loop, Fd inotify, std::string directory, Seen seen)
      : loop_(loop), inotify_(std::move(inotify)), directory_(std::move(directory)), seen_(std::move(seen)) {}
  void on_changes();
  void look(const std::string& name);

  EventLoop& loop_;
  Fd inotify_;
  std::string directory_;
  Seen seen_;
  std::unordered_map<std::string, Expectation> expected_;
};

}  // namespace xenopolis::experiment
