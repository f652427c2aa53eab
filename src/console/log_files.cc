#include "console/log_files.h"

#include <fcntl.h>

#include <cstring>

#include "base/log.h"

namespace xenopolis::console {
namespace {

constexpr mode_t kMode = 0640;  // consoles show passwords and the like

}  // namespace

Result<LogFiles> LogFiles::open(const std::string& directory, const Clock& clock) {
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno("opening the log directory " + directory);
  if (faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
    return fail_errno("writing into log directory " + directory);
  return LogFiles(std::move(fd), clock);
}

bool LogFiles::is_valid_name(std::string_view name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

int LogFiles::descriptor_of(const std::string& name) {
  if (const auto found = files_.find(name); found != files_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
    return found->second->fd.get();
  }
  // O_NONBLOCK: should somebody have put a FIFO there, it must not hold up all consoles.
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  Fd fd(openat(directory_.get(), (name + ".log").c_str(), kFlags, kMode));
  if (!fd) return -1;
  if (files_.size() == kMaxOpen) {
    files_.erase(by_use_.back().name);
    by_use_.pop_back();
  }
  by_use_.push_front({name, std::move(fd)});
  files_[name] = by_use_.begin();
  return by_use_.front().fd.get();
}

void LogFiles::append(const std::string& name, std::span<const char> bytes) {
  if (bytes.empty()) return;
  const int fd = descriptor_of(name);
  if (fd < 0) return lose(name, bytes.size(), errno);
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return lose(name, bytes.size(), written == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void LogFiles::forget(const std::string& name) {
  const auto found = files_.find(name);
  if (found == files_.end()) return;
  by_use_.erase(found->second);
  files_.erase(found);
}

void LogFiles::lose(const std::string& name, size_t bytes, int reason) {
  lost_bytes_ += bytes;
  lost_since_report_ += bytes;
  const uint64_t now_ns = clock_->now_ns();
  if (last_report_ns_ != 0 && now_ns - last_report_ns_ < kReportEveryNs) return;
  log::error("console output lost: {} bytes since the last report, {} in all; writing {}.log: {}", lost_since_report_,
             lost_bytes_, name, std::strerror(reason));
  last_report_ns_ = now_ns;
  lost_since_report_ = 0;
  ++reports_;
}

}  // namespace xenopolis::console
