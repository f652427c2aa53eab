#include "config/text_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/fd.h"

namespace xenopolis::config {

namespace {

Result<std::string> read_all(const Fd& opened, const std::string& name, size_t most) {
  if (!opened) return fail_errno(name);
  std::string text;
  while (text.size() <= most) {
    char buffer[16 * 1024];
    const ssize_t got = read(opened.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(name);
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
  }
  return fail(E2BIG, fmt::format("{}: more than {} KiB", name, most / 1024));
}

}  // namespace

Result<std::string> read_text(const std::string& path, size_t most) {
  return read_all(Fd(open(path.c_str(), O_RDONLY | O_CLOEXEC)), path, most);
}

Result<std::string> read_text_or_input(const std::string& path, size_t most) {
  return path == "-" ? read_all(Fd(dup(STDIN_FILENO)), "standard input", most) : read_text(path, most);
}

}  // namespace xenopolis::config
