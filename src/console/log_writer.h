// The logs: what each console's stream has, in a file of its own. NAME.log is the log of domain NAME, NAME:1.log that
// of its second console.
//
// A log is one more reader of its stream. It writes when 16 KiB are new, or 50 ms after the first new byte: consoles
// that say nothing cost nothing, and at most 64 files are open. How far it has come stands in the stream (LogPosition)
// and outlives the daemon:
//
//   1. text is appended to the file, as a whole or not at all
//   2. the position says so
//
// A daemon killed in between leaves a file that is longer than the position says; its successor cuts it there and
// writes the same again. What cannot be written (disk full) stays in the stream, and is tried again every second. What
// the stream loses in the meantime is counted, reported at most once a minute, and the log says "[N bytes dropped]" in
// its place.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "console/log_directory.h"
#include "console/log_text.h"
#include "console/server.h"

namespace xenopolis::console {

struct LogOptions {
  std::string directory;
  bool with_timestamps = false;  // before each line
  uint64_t max_bytes = 0;        // of a file, then it is rotated; 0: no limit, else at least LogWriter::kLeastFileBytes
  unsigned keep = 5;             // rotated files of each log
  uint64_t batch_bytes = 0;      // that do not wait; 0: LogWriter::kBatchBytes. Well below what a stream holds
};

// Belongs to the server's thread. turn() must be called in each turn of the loop, before it sleeps.
class LogWriter final : public Viewer {
 public:
  static constexpr size_t kMostOpen = 64;
  static constexpr uint64_t kBatchBytes = 16 * 1024;
  static constexpr uint64_t kLeastFileBytes = 4096;
  static constexpr uint64_t kDelayNs = 50'000'000;
  static constexpr uint64_t kRetryEveryNs = 1'000'000'000;
  static constexpr uint64_t kReportEveryNs = 60'000'000'000;
  // Files that a turn writes only because it is time, so that a guest's event does not wait for thousands; of those
  // that are late by more than kLateNs any number, so that no stream loses what it has.
  static constexpr unsigned kFilesPerTurn = 16;
  static constexpr uint64_t kLateNs = 50'000'000;

  // EINVAL: max_bytes; what LogDirectory::open() answers. All must outlive the object.
  static Result<std::unique_ptr<LogWriter>> open(Server& server, EventLoop& loop, const Clock& clock,
                                                 const LogOptions& options);
  // Writes what is new.
  ~LogWriter() override;
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  void on_output(Console& console) override;
  // Its log goes on under the new name. A log that was there is rotated.
  void on_rename(Console& console, const std::string& before) override;
  // Its log is complete afterwards, or says later what is missing.
  void on_end(Console& console) override;

  void turn();
  // All that is new, at once.
  void flush();
  // Closes all files: for who has renamed some.
  void reopen();

  uint64_t lost_bytes() const { return lost_bytes_; }  // that no log has or will have
  uint64_t reports() const { return reports_; }
  size_t open_files() const { return open_.size(); }
  size_t failing_logs() const { return failing_; }

 private:
  struct Log;
  // An ended console whose log lacks that much at its end.
  struct Unsaid {
    uint64_t bytes = 0;
    uint64_t time_ms = 0;
  };
  static constexpr size_t kMostUnsaid = 1024;
  static constexpr unsigned kFailuresPerRetry = 8;

  using QueueHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct Queued>,
                                                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
  using OpenHook = boost::intrusive::list_base_hook<boost::intrusive::tag<struct Opened>>;
  using Queue =
      boost::intrusive::list<Log, boost::intrusive::base_hook<QueueHook>, boost::intrusive::constant_time_size<false>>;
  using OpenFiles = boost::intrusive::list<Log, boost::intrusive::base_hook<OpenHook>>;

  LogWriter(Server& server, EventLoop& loop, const Clock& clock, const LogOptions& options, LogDirectory directory);

  Log& log_of(Console& console);
  bool write(Log& log);
  Status write_new(Log& log);
  LogPosition gather(Log& log, const LogPosition& position);
  Status open_file(Log& log);
  void close_file(Log& log);
  Status agree(Log& log, LogPosition& position);
  Status rotate(Log& log, LogPosition& position);
  void retry(uint64_t now_ns);
  void say_unsaid(uint64_t now_ns);
  Status say(const std::string& file_name, const Unsaid& unsaid);
  void lose(uint64_t bytes);
  void report();
  void arm();

  Server& server_;
  EventLoop& loop_;
  const Clock& clock_;
  const LogDirectory directory_;
  const uint64_t max_bytes_;
  const uint64_t batch_bytes_;
  LogText text_;

  std::unordered_map<uint32_t, std::unique_ptr<Log>> logs_;  // by domid << 16 | index
  // A log is in one of them, or has nothing to write. The last two by time: each waits equally long.
  Queue ready_, waiting_, failed_;
  OpenFiles open_;  // most recently used first

  std::map<std::string, Unsaid> unsaid_;  // by file name
  uint64_t retry_at_ns_ = 0;              // not before that
  EventLoop::TimerId timer_ = 0;          // 0: none
  uint64_t timer_at_ns_ = 0;

  size_t failing_ = 0;
  std::string failure_;  // of the last log that failed
  bool has_reported_failure_ = false;
  uint64_t lost_bytes_ = 0;
  uint64_t lost_since_report_ = 0;
  uint64_t last_report_ns_ = 0;  // 0: none yet
  uint64_t reports_ = 0;
};

}  // namespace xenopolis::console
