#include "base/terminal_width.h"

#include <sys/ioctl.h>

namespace xenopolis {

size_t terminal_width(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col : 80;
}

}  // namespace xenopolis
