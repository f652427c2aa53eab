// The files of a directory of logs: which there may be, and what is done to one. Keeps none of them open.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "console/console_protocol.h"

namespace xenopolis::console {

class LogDirectory {
 public:
  // ENOENT, ENOTDIR, EACCES: `path` is not one to write to. `keep`: how many files rotate() leaves besides the new one.
  static Result<LogDirectory> open(const std::string& path, unsigned keep);

  // Whether a domain's log may be called that: a file name of its own, not hidden, not another console's.
  static bool is_valid_name(std::string_view domain);
  // NAME.log; NAME:1.log of the domain's second console.
  static std::string file_name(std::string_view domain, uint16_t console);

  // To append to, and made if it is not there. ELOOP, EINVAL: a symbolic link, or no regular file.
  Result<Fd> open_file(const std::string& file) const;
  // FILE becomes FILE.1, FILE.1 becomes FILE.2..., and the oldest goes; then there is no FILE. Should that end halfway,
  // nothing but a number is missing, and the next rotation fills it.
  Status rotate(const std::string& file) const;
  // FILE becomes `to`, after a rotation of what was called that. No error when there is no FILE.
  Status rename(const std::string& file, const std::string& to) const;

 private:
  LogDirectory(Fd directory, unsigned keep) : directory_(std::move(directory)), keep_(keep) {}

  Fd directory_;
  unsigned keep_;
};

struct LogFileStatus {
  uint64_t bytes = 0;
  bool is_deleted = false;
};
Result<LogFileStatus> log_file_status(const Fd& file);
// Whether its last line is complete, or there is none.
Result<bool> log_file_ends_line(const Fd& file, uint64_t bytes);

// All of `text` at the file's end, which is at `file_bytes`, or nothing of it: then the file is cut to where it was. If
// even that fails, it is longer than `file_bytes`. ENOSPC, EDQUOT, EFBIG, EIO...
Status append_whole(const Fd& file, uint64_t file_bytes, std::string_view text);
Status cut_log_file(const Fd& file, uint64_t bytes);

}  // namespace xenopolis::console
