#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>

namespace xenopolis {
namespace {

Result<uint64_t> size_of_regular_file(int fd, const std::string& name, const std::string& what) {
  struct stat status {};
  if (stat_descriptor(fd, status) != 0) return fail_errno(fmt::format("looking at {} {}", what, name));
  if (!S_ISREG(status.st_mode)) return fail(EINVAL, fmt::format("{}: a {} is a regular file", name, what));
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace

int stat_descriptor(int fd, struct stat& status) {
  return static_cast<int>(syscall(SYS_fstat, fd, &status));
}

Result<Fd> open_regular_file(const std::string& path, const std::string& what) {
  // Looked at before it is opened, because opening alone does something to a device (a watchdog, a tape).
  const Fd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!place) return fail_errno(fmt::format("opening {} {}", what, path));
  TRY(size_of_regular_file(place.get(), path, what));
  Fd fd(::open(fmt::format("/proc/self/fd/{}", place.get()).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return fail_errno(fmt::format("opening {} {}", what, path));
  return fd;
}

Result<std::vector<uint8_t>> read_file(int fd, const std::string& name, const std::string& what, uint64_t max_size) {
  const uint64_t size = TRY(size_of_regular_file(fd, name, what));
  if (size > max_size) {
    return fail(EFBIG, fmt::format("{}: {} bytes; a {} has at most {}", name, size, what, max_size));
  }
  std::vector<uint8_t> bytes(size);
  uint64_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, bytes.data() + done, size - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(fmt::format("reading {} {}", what, name));
    if (got == 0) break;
    done += static_cast<uint64_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace xenopolis
