#include "daemon.h"

#include <sys/socket.h>

#include <ctime>

#include "common/basics.h"
#include "raw_client.h"

namespace xenopolis::bench {
namespace {

// Its pid is what the socket says: of the process that called listen().
class RunningDaemon final : public Daemon {
 public:
  explicit RunningDaemon(const std::string& socket_path) {
    socket_path_ = socket_path;
    wait_until_it_serves();
    pid_ = RawClient(socket_path).peer_pid();
  }

  void add_guest(DomId) override { refuse(); }
  Gfn ring_gfn() const override { refuse(); }
  Port ring_port(DomId) const override { refuse(); }
  xenstore_domain_interface& ring(DomId) override { refuse(); }
  void notify(DomId) override { refuse(); }
  bool wait(DomId) override { refuse(); }

 private:
  [[noreturn]] static void refuse() { give_up("guests of a running daemon cannot be reached"); }
};

}  // namespace

void Daemon::wait_until_it_serves() const {
  const uint64_t deadline = now_ns() + uint64_t{kPatienceMs} * 1'000'000;
  while (!RawClient::can_connect(socket_path_)) {
    if (now_ns() > deadline) give_up("nobody serves {}", socket_path_);
    const timespec pause{0, 2'000'000};
    nanosleep(&pause, nullptr);
  }
  RawClient(socket_path_).ask(XS_DIRECTORY, terminated("/"));
}

Kind running_kind(const std::string& socket_path) {
  return {.name = "running",
          .description = "what listens at " + socket_path,
          .has_guests = false,
          .start = [](const Kind& kind, const std::string&) -> std::unique_ptr<Daemon> {
            return std::make_unique<RunningDaemon>(kind.program);
          },
          .program = socket_path};
}

}  // namespace xenopolis::bench
