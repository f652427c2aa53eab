#include "console/log_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

namespace xenopolis::console {
namespace {

constexpr mode_t kMode = 0640;  // consoles show passwords and the like

std::string numbered(const std::string& file, unsigned number) {
  return number == 0 ? file : fmt::format("{}.{}", file, number);
}

}  // namespace

Result<LogDirectory> LogDirectory::open(const std::string& path, unsigned keep) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno("opening the log directory " + path);
  if (faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) return fail_errno("writing into log directory " + path);
  return LogDirectory(std::move(fd), keep);
}

bool LogDirectory::is_valid_name(std::string_view domain) {
  using namespace std::string_view_literals;
  return !domain.empty() && domain.front() != '.' && domain.find_first_of("/:\0"sv) == std::string_view::npos;
}

std::string LogDirectory::file_name(std::string_view domain, uint16_t console) {
  return console == 0 ? fmt::format("{}.log", domain) : fmt::format("{}:{}.log", domain, console);
}

Result<Fd> LogDirectory::open_file(const std::string& file) const {
  // O_NONBLOCK: should somebody have put a FIFO there, it must not hold up all consoles.
  constexpr int kFlags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  Fd fd(openat(directory_.get(), file.c_str(), kFlags, kMode));
  if (!fd) return fail_errno("opening " + file);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return fail_errno("fstat " + file);
  if (!S_ISREG(status.st_mode)) return fail(EINVAL, "opening " + file + ", which is no regular file");
  return fd;
}

// Bounded by keep_.
Status LogDirectory::rotate(const std::string& file) const {
  if (keep_ == 0) {
    if (unlinkat(directory_.get(), file.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("deleting " + file);
    return {};
  }
  // Up to the first number that is free, or the last one, whose file goes.
  unsigned last = 1;
  while (last < keep_ && faccessat(directory_.get(), numbered(file, last).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    ++last;
  }
  for (unsigned number = last; number > 0; --number) {
    const std::string from = numbered(file, number - 1), to = numbered(file, number);
    if (renameat(directory_.get(), from.c_str(), directory_.get(), to.c_str()) != 0 && errno != ENOENT) {
      return fail_errno("renaming " + from);
    }
  }
  return {};
}

Status LogDirectory::rename(const std::string& file, const std::string& to) const {
  if (faccessat(directory_.get(), file.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0) return {};
  TRY_VOID(rotate(to));
  if (renameat(directory_.get(), file.c_str(), directory_.get(), to.c_str()) != 0)
    return fail_errno("renaming " + file);
  return {};
}

Result<LogFileStatus> log_file_status(const Fd& file) {
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return fail_errno("fstat");
  return LogFileStatus{static_cast<uint64_t>(status.st_size), status.st_nlink == 0};
}

Result<bool> log_file_ends_line(const Fd& file, uint64_t bytes) {
  char last = '\n';
  if (bytes > 0 && pread(file.get(), &last, 1, static_cast<off_t>(bytes - 1)) < 0) return fail_errno("reading");
  return last == '\n';
}

Status append_whole(const Fd& file, uint64_t file_bytes, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      Error error = written < 0 ? system_error("writing") : Error{ENOSPC, "writing"};
      // It says by itself, by being too long, that this failed.
      (void)!ftruncate(file.get(), static_cast<off_t>(file_bytes));
      return tl::make_unexpected(std::move(error));
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Status cut_log_file(const Fd& file, uint64_t bytes) {
  if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return fail_errno("cutting");
  return {};
}

}  // namespace xenopolis::console
