// Whole files through descriptors: who opens a file and who reads it may be different processes.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace xenopolis {

// fstat(2) itself: glibc's fstat() makes a call of it that could follow paths, which a sandbox refuses.
int stat_descriptor(int fd, struct stat& status);

// For reading, close-on-exec. `what` says in errors what the file is for ("kernel image"). EINVAL: it is no regular
// file (a FIFO or a device is not opened at all).
Result<Fd> open_regular_file(const std::string& path, const std::string& what);

// From the file's beginning, without moving the descriptor's offset, which other processes may share. `name` is for
// errors. EFBIG: it has more than `max_size` bytes. EINVAL: it is no regular file. What is cut off while it is read is
// missing at the end.
Result<std::vector<uint8_t>> read_file(int fd, const std::string& name, const std::string& what, uint64_t max_size);

}  // namespace xenopolis
