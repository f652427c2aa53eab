// polis-consoled: the console daemon of Dom0, one log file per domain.
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>

#include "base/event_loop.h"
#include "base/log.h"
#include "console/control.h"
#include "console/machine_link.h"

namespace xenopolis {
namespace {

// Dom0's vCPUs are the backends' threads: 0 polis-xenstored, 1 polis-consoled.
constexpr VcpuId kVcpu = 1;

struct Options {
  int machine_fd = -1;
  std::vector<int> doorbell_fds;
  int control_fd = -1;
  std::string log_directory;
  std::string log_level = "info";
};

Result<Fd> termination_as_descriptor() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return fail_errno("blocking SIGTERM");
  Fd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno("signalfd");
  return fd;
}

std::vector<Fd> take_ownership(const std::vector<int>& numbers) {
  std::vector<Fd> fds;
  for (const int number : numbers) fds.emplace_back(number);
  return fds;
}

Status serve(const Options& options) {
  // The machine ends with polisd. polisd's death between fork and here shows as the end of the control socket.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  machine::Machine machine =
      TRY(machine::Machine::attach(Fd(options.machine_fd), take_ownership(options.doorbell_fds)));
  event::EventChannels channels(machine);
  event::Consumer consumer = TRY(event::Consumer::attach(channels, kVcpu));
  const MonotonicClock clock;
  console::LogFiles logs = TRY(console::LogFiles::open(options.log_directory, clock));
  console::MachineLink link(consumer);
  console::Server server(link, logs);
  console::Control control(Fd(options.control_fd), server);

  const Fd signals = TRY(termination_as_descriptor());
  EventLoop loop = TRY(EventLoop::create());
  bool stopping = false;
  Status status;
  TRY_VOID(loop.add(signals.get(), EPOLLIN, [&](uint32_t) { stopping = true; }));
  TRY_VOID(
      loop.add(consumer.fd(), EPOLLIN, [&](uint32_t) { consumer.drain([&](Port port) { server.on_event(port); }); }));
  TRY_VOID(loop.add(control.fd(), EPOLLIN, [&](uint32_t) {
    const Result<bool> open = control.serve();
    if (!open) status = tl::make_unexpected(open.error());
    if (!open || !*open) stopping = true;
  }));
  log::info("logging consoles to {}", options.log_directory);
  while (!stopping) {
    TRY_VOID(loop.run_once(server.has_work() ? 0 : -1));
    server.run_turns();
  }
  return status;
}

}  // namespace
}  // namespace xenopolis

int main(int argc, char** argv) {
  xenopolis::Options options;
  CLI::App app("The console daemon of Xenopolis. polisd starts it.", "polis-consoled");
  app.add_option("--machine-fd", options.machine_fd, "inherited descriptor of the machine's memory")->required();
  app.add_option("--doorbell-fds", options.doorbell_fds, "inherited eventfds of Dom0's vCPUs")
      ->required()
      ->delimiter(',');
  app.add_option("--control-fd", options.control_fd, "inherited SOCK_SEQPACKET socket to polisd")->required();
  app.add_option("--log-dir", options.log_directory, "directory for NAME.log")->required();
  app.add_option("--log-level", options.log_level, "error, warn, info or debug");
  CLI11_PARSE(app, argc, argv);
  xenopolis::log::start("polis-consoled", options.log_level);
  if (const xenopolis::Status served = xenopolis::serve(options); !served) {
    xenopolis::log::error("{}", served.error().message());
    return 1;
  }
  return 0;
}
