// In polis-cell's place: it is polis-cell as long as there is no file "lie" beside it, and then one that somebody has
// taken over. Of the host it knows what a cell is given, and answers every order with what it must not say.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "vcpu/cell_protocol.h"

namespace {

using namespace xenopolis;
using vcpu::CellReply;
using vcpu::CellReplyKind;

constexpr DomId kMostDomains = 64;

// The line is non-blocking.
void wait(int control, short events) {
  pollfd waited{control, events, 0};
  poll(&waited, 1, -1);
}

void say(int control, const void* bytes, size_t size) {
  while (send(control, bytes, size, MSG_NOSIGNAL) < 0 && errno == EAGAIN) wait(control, POLLOUT);
}

void lie_about(int control, DomId domid, CellReplyKind kind, int error) {
  CellReply reply;
  std::memset(&reply, 'x', sizeof reply);  // a text without an end among it
  reply.kind = kind;
  reply.domid = domid;
  reply.error = error;
  say(control, &reply, sizeof reply);
}

}  // namespace

int main(int argc, char** argv) {
  const auto directory = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  if (!std::filesystem::exists(directory / "lie")) {
    execv((directory / "honest-cell").c_str(), argv);
    return 1;
  }
  int control = -1;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string_view(argv[i]) == "--control-fd") control = std::atoi(argv[i + 1]);
  }
  vcpu::CellRequest request;
  for (;;) {
    wait(control, POLLIN);
    if (recv(control, &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request)) return 0;
    const std::string junk(3 * sizeof(CellReply), '\xff');
    for (const size_t size :
         {size_t{1}, sizeof(CellReply) - 1, sizeof(CellReply), sizeof(CellReply) + 1, junk.size()}) {
      say(control, junk.data(), size);
    }
    // Of others: that they have ended, are gone, and are there twice.
    for (DomId domid = 0; domid < kMostDomains; ++domid) {
      if (domid == request.domid) continue;
      for (const CellReplyKind kind : {CellReplyKind::kShutdown, CellReplyKind::kBuilt, CellReplyKind::kBuildFailed,
                                       CellReplyKind::kDestroyed, CellReplyKind::kPaused}) {
        lie_about(control, domid, kind, 0);
      }
    }
    // Of its own: that it failed for no reason.
    const bool is_build = request.kind == vcpu::CellRequestKind::kBuild;
    for (int i = 0; i < 2; ++i) {
      lie_about(control, request.domid, is_build ? CellReplyKind::kBuildFailed : CellReplyKind::kDestroyed, i - 1);
    }
  }
}
