#include "console/log_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/fault_point.h"
#include "base/log.h"
#include "machine/service_counters.h"

namespace xenopolis::console {
namespace {

constexpr uint64_t kNever = ~uint64_t{0};

uint32_t key_of(ConsoleId id) {
  return uint32_t{id.domid} << 16 | id.index;
}

// When the last text came; 0: there is none.
uint64_t last_time_ms(const Stream& stream) {
  Cursor cursor = stream.last(1);
  uint64_t missed = 0;
  return stream.next(cursor, missed).time_ms;
}

}  // namespace

struct LogWriter::Log : QueueHook, OpenHook {
  explicit Log(Console& of)
      : console(of),
        file_name(LogDirectory::file_name(of.name(), of.id().index)),
        logged(of.stream().log_position().logged) {}

  bool is_queued() const { return QueueHook::is_linked(); }
  void unqueue() {
    if (is_queued()) QueueHook::unlink();
    is_ready = has_failed = false;
  }

  Console& console;
  std::string file_name;
  Fd file;
  Cursor cursor;    // where the next text is, if its offset is that
  uint64_t logged;  // as the stream's position says
  uint64_t due_ns = 0;
  bool is_ready = false;    // in ready_
  bool has_failed = false;  // in failed_
  // The file may hold more than its position says, which is to be written again: of a predecessor that was killed, or
  // of ourselves.
  bool may_be_longer = true;
};

Result<std::unique_ptr<LogWriter>> LogWriter::open(Server& server, EventLoop& loop, const Clock& clock,
                                                   const LogOptions& options) {
  if (options.max_bytes != 0 && options.max_bytes < kLeastFileBytes) {
    return fail(EINVAL, fmt::format("a log's size may be limited to {} bytes or more, not to {}", kLeastFileBytes,
                                    options.max_bytes));
  }
  LogDirectory directory = TRY(LogDirectory::open(options.directory, options.keep));
  return std::unique_ptr<LogWriter>(new LogWriter(server, loop, clock, options, std::move(directory)));
}

LogWriter::LogWriter(Server& server, EventLoop& loop, const Clock& clock, const LogOptions& options,
                     LogDirectory directory)
    : server_(server),
      loop_(loop),
      clock_(clock),
      directory_(std::move(directory)),
      max_bytes_(options.max_bytes),
      batch_bytes_(options.batch_bytes == 0 ? kBatchBytes : options.batch_bytes),
      text_(options.with_timestamps,
            options.max_bytes == 0 ? LogText::kMostBytes : std::min<size_t>(options.max_bytes, LogText::kMostBytes)) {
  server_.add_viewer(*this);
  server_.for_each([this](Console& console) { on_output(console); });
}

LogWriter::~LogWriter() {
  flush();
  if (timer_ != 0) loop_.cancel(timer_);
  server_.remove_viewer(*this);
  reopen();
}

LogWriter::Log& LogWriter::log_of(Console& console) {
  std::unique_ptr<Log>& log = logs_[key_of(console.id())];
  if (!log) log = std::make_unique<Log>(console);
  return *log;
}

void LogWriter::on_output(Console& console) {
  Log& log = log_of(console);
  const uint64_t unlogged = console.stream().end() - log.logged;
  if (log.has_failed || unlogged == 0) return;
  if (!log.is_queued()) {
    log.due_ns = clock_.now_ns() + kDelayNs;
    waiting_.push_back(log);
  }
  if (unlogged >= batch_bytes_ && !log.is_ready) {
    log.unqueue();
    log.is_ready = true;
    ready_.push_back(log);
  }
}

void LogWriter::on_end(Console& console) {
  Log& log = log_of(console);
  if (!write(log)) {
    const LogPosition position = console.stream().log_position();
    const uint64_t rest = console.stream().end() - position.logged;
    lose(rest);
    if (unsaid_.size() < kMostUnsaid || unsaid_.contains(log.file_name)) {
      Unsaid& unsaid = unsaid_[log.file_name];
      unsaid.bytes += rest + position.dropped;
      unsaid.time_ms = last_time_ms(console.stream());
    }
    --failing_;
    log.unqueue();
  }
  close_file(log);
  logs_.erase(key_of(console.id()));
}

void LogWriter::turn() {
  // Each has batch_bytes_: that many turns of its console went before.
  while (!ready_.empty()) write(ready_.front());
  if (!waiting_.empty() || !failed_.empty() || !unsaid_.empty()) {
    const uint64_t now_ns = clock_.now_ns();
    for (unsigned files = 0; !waiting_.empty(); ++files) {
      const uint64_t due_ns = waiting_.front().due_ns;
      if (due_ns > now_ns || (files >= kFilesPerTurn && due_ns + kLateNs > now_ns)) break;
      write(waiting_.front());
    }
    retry(now_ns);
  }
  report();
  arm();
}

void LogWriter::flush() {
  while (!ready_.empty()) write(ready_.front());
  while (!waiting_.empty()) write(waiting_.front());
  // Those that fail again come to the end of the queue.
  for (size_t left = failing_; left > 0; --left) write(failed_.front());
}

void LogWriter::reopen() {
  while (!open_.empty()) close_file(open_.back());
}

// Whether all that was new is in the file. If not, the log is tried again later.
bool LogWriter::write(Log& log) {
  failing_ -= log.has_failed;
  log.unqueue();
  const Status written = write_new(log);
  if (written) return true;
  failure_ = fmt::format("{}: {}", log.file_name, written.error().message());
  close_file(log);
  log.has_failed = true;
  log.due_ns = clock_.now_ns() + kRetryEveryNs;
  failed_.push_back(log);
  ++failing_;
  return false;
}

// Bounded by what a stream may hold: nothing is added to it meanwhile.
Status LogWriter::write_new(Log& log) {
  Stream& stream = log.console.stream();
  LogPosition position = stream.log_position();
  if (const uint64_t begin = stream.begin(); position.logged < begin) {
    lose(begin - position.logged);
    position.dropped += begin - position.logged;
    position.logged = log.logged = begin;
    stream.set_log_position(position);
  }
  if (stream.end() == position.logged && position.dropped == 0) return {};
  TRY_VOID(open_file(log));
  TRY_VOID(agree(log, position));
  while (true) {
    LogPosition next = gather(log, position);
    const std::string_view text = text_.text();
    if (text.empty()) return {};
    if (max_bytes_ != 0 && position.file_bytes > 0 && position.file_bytes + text.size() > max_bytes_) {
      TRY_VOID(rotate(log, position));
    }
    log.may_be_longer = true;
    TRY_VOID(append_whole(log.file, position.file_bytes, text));
    log.may_be_longer = false;
    fault_point("log appended");
    next.file_bytes = position.file_bytes + text.size();
    stream.set_log_position(next);
    fault_point("log position set");
    log.logged = next.logged;
    position = next;
  }
}

// As much as one write takes of what follows `position`; the position behind it, but for the file's length.
LogPosition LogWriter::gather(Log& log, const LogPosition& position) {
  const Stream& stream = log.console.stream();
  LogPosition next = position;
  text_.clear(position.at_line_start != 0);
  // The last domain of this name ended within a line.
  if (position.logged == 0) text_.end_line();
  Cursor cursor = log.cursor.offset == position.logged ? log.cursor : Cursor{position.logged, 0};
  while (true) {
    uint64_t missed = 0;
    const Piece piece = stream.next(cursor, missed);
    if (next.dropped != 0) {
      text_.add_mark(next.dropped, piece.text.empty() ? last_time_ms(stream) : piece.time_ms);
      next.dropped = 0;
    }
    if (piece.text.empty()) break;
    const size_t taken = text_.add(piece.text, piece.time_ms);
    next.logged += taken;
    if (taken < piece.text.size()) break;
  }
  log.cursor = cursor;
  next.at_line_start = text_.at_line_start() ? 1 : 0;
  return next;
}

Status LogWriter::open_file(Log& log) {
  if (log.file) {
    open_.splice(open_.begin(), open_, open_.iterator_to(log));
    return {};
  }
  if (!LogDirectory::is_valid_name(log.console.name())) return fail(EINVAL, "a name that no log may have");
  if (open_.size() == kMostOpen) close_file(open_.back());
  log.file = TRY(directory_.open_file(log.file_name));
  open_.push_front(log);
  return {};
}

void LogWriter::on_rename(Console& console, const std::string& before) {
  Log& log = log_of(console);
  // Also when the console has just been told, and its log not been written to: there may be one of a predecessor's.
  const std::string from = LogDirectory::file_name(before, console.id().index);
  log.file_name = LogDirectory::file_name(console.name(), console.id().index);
  if (const Status renamed = directory_.rename(from, log.file_name); !renamed) {
    log::error("the log of {}, which was {}: {}", console.name(), before, renamed.error().message());
    close_file(log);
  }
}

void LogWriter::close_file(Log& log) {
  if (!log.file) return;
  open_.erase(open_.iterator_to(log));
  log.file.reset();
}

// Makes the file as long as the position says, or the position say how long it is: others may append to a log, empty
// it, or delete it.
Status LogWriter::agree(Log& log, LogPosition& position) {
  LogFileStatus status = TRY(log_file_status(log.file));
  if (status.is_deleted) {
    close_file(log);
    TRY_VOID(open_file(log));
    status = TRY(log_file_status(log.file));
  }
  const LogPosition before = position;
  if (position.has_file == 0) {
    position.at_line_start = TRY(log_file_ends_line(log.file, status.bytes)) ? 1 : 0;
    position.has_file = 1;
    position.file_bytes = status.bytes;
  } else if (status.bytes > position.file_bytes && log.may_be_longer) {
    TRY_VOID(cut_log_file(log.file, position.file_bytes));
    fault_point("log cut");
  } else {
    position.file_bytes = status.bytes;
  }
  log.may_be_longer = false;
  if (const auto unsaid = unsaid_.find(log.file_name); unsaid != unsaid_.end()) {
    position.dropped += unsaid->second.bytes;
    unsaid_.erase(unsaid);
  }
  if (position.has_file != before.has_file || position.file_bytes != before.file_bytes ||
      position.dropped != before.dropped) {
    log.console.stream().set_log_position(position);
  }
  return {};
}

// The position must not say that a file is empty before it is: a successor would cut it.
Status LogWriter::rotate(Log& log, LogPosition& position) {
  TRY_VOID(directory_.rotate(log.file_name));
  fault_point("log rotated");
  position.file_bytes = 0;
  log.console.stream().set_log_position(position);
  close_file(log);
  TRY_VOID(open_file(log));
  return agree(log, position);
}

// A disk that is full fails the first few only; the others wait for the next time.
void LogWriter::retry(uint64_t now_ns) {
  if (now_ns < retry_at_ns_) return;
  unsigned failures = 0;
  for (unsigned files = 0; files < kFilesPerTurn && !failed_.empty() && failed_.front().due_ns <= now_ns; ++files) {
    if (write(failed_.front()) || ++failures < kFailuresPerRetry) continue;
    retry_at_ns_ = now_ns + kRetryEveryNs;
    return;
  }
  if (failing_ == 0) say_unsaid(now_ns);
}

void LogWriter::say_unsaid(uint64_t now_ns) {
  for (unsigned files = 0; files < kFilesPerTurn && !unsaid_.empty(); ++files) {
    const auto first = unsaid_.begin();
    if (const Status said = say(first->first, first->second); !said) {
      retry_at_ns_ = now_ns + kRetryEveryNs;
      return;
    }
    unsaid_.erase(first);
  }
}

Status LogWriter::say(const std::string& file_name, const Unsaid& unsaid) {
  const Fd file = TRY(directory_.open_file(file_name));
  const LogFileStatus status = TRY(log_file_status(file));
  text_.clear(TRY(log_file_ends_line(file, status.bytes)));
  text_.add_mark(unsaid.bytes, unsaid.time_ms);
  return append_whole(file, status.bytes, text_.text());
}

void LogWriter::lose(uint64_t bytes) {
  lost_bytes_ += bytes;
  machine::count_service(machine::ConsoleCounter::kLostBytes, bytes);
  lost_since_report_ += bytes;
}

void LogWriter::report() {
  if (failing_ == 0 && std::exchange(has_reported_failure_, false)) log::info("all logs of consoles are written again");
  if (failing_ == 0 && lost_since_report_ == 0) return;
  const uint64_t now_ns = clock_.now_ns();
  if (last_report_ns_ != 0 && now_ns - last_report_ns_ < kReportEveryNs) return;
  if (failing_ != 0) {
    log::error("{} logs of consoles cannot be written, the last one {}; {} bytes lost since the last report, {} in all",
               failing_, failure_, lost_since_report_, lost_bytes_);
    has_reported_failure_ = true;
  } else {
    log::error("consoles wrote what could not be logged: {} bytes lost since the last report, {} in all",
               lost_since_report_, lost_bytes_);
  }
  last_report_ns_ = now_ns;
  lost_since_report_ = 0;
  ++reports_;
}

void LogWriter::arm() {
  uint64_t next_ns = kNever;
  if (!waiting_.empty()) next_ns = waiting_.front().due_ns;
  if (!failed_.empty()) next_ns = std::min(next_ns, std::max(failed_.front().due_ns, retry_at_ns_));
  if (failed_.empty() && !unsaid_.empty()) next_ns = std::min(next_ns, retry_at_ns_);
  if (next_ns == kNever || (timer_ != 0 && timer_at_ns_ <= next_ns)) return;
  if (timer_ != 0) loop_.cancel(timer_);
  timer_at_ns_ = next_ns;
  timer_ = loop_.at(next_ns, [this] { timer_ = 0; });
}

}  // namespace xenopolis::console
