// One log file per console: appended to, and open only while it is written to often.
#pragma once

#include <list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

namespace xenopolis::console {

// Not thread-safe.
class LogFiles {
 public:
  static constexpr size_t kMaxOpen = 64;  // least recently used ones are closed first
  static constexpr uint64_t kReportEveryNs = 60'000'000'000;

  // ENOENT, ENOTDIR, EACCES: `directory` is not one to write to. `clock` must outlive the object.
  static Result<LogFiles> open(const std::string& directory, const Clock& clock);

  // Whether NAME.log may stand for a console: a file name of its own, not hidden.
  static bool is_valid_name(std::string_view name);

  // Appends in one write(2) where the file system lets it. What cannot be written (disk full) is lost, counted, and
  // reported at most once a minute.
  void append(const std::string& name, std::span<const char> bytes);
  // Closes the file if it is open.
  void forget(const std::string& name);

  uint64_t lost_bytes() const { return lost_bytes_; }
  uint64_t reports() const { return reports_; }
  size_t open_files() const { return files_.size(); }

 private:
  struct File {
    std::string name;
    Fd fd;
  };

  LogFiles(Fd directory, const Clock& clock) : directory_(std::move(directory)), clock_(&clock) {}
  // -1 with errno.
  int descriptor_of(const std::string& name);
  void lose(const std::string& name, size_t bytes, int reason);

  Fd directory_;
  const Clock* clock_;
  std::list<File> by_use_;  // most recently used first
  std::unordered_map<std::string, std::list<File>::iterator> files_;
  uint64_t lost_bytes_ = 0;
  uint64_t lost_since_report_ = 0;
  uint64_t last_report_ns_ = 0;  // 0: none yet
  uint64_t reports_ = 0;
};

}  // namespace xenopolis::console
