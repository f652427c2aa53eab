// polis-consoled: the console daemon of Dom0, one log file per domain.
#include <linux/capability.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/letting_go.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/unix_socket.h"
#include "common_options.h"
#include "console/control.h"
#include "console/log_writer.h"
#include "console/machine_link.h"
#include "console/sessions.h"
#include "console/terminals.h"
#include "machine/service_counters.h"

namespace xenopolis {
namespace {

// Dom0's vCPUs are the backends' threads: 0 polis-xenstored, 1 polis-consoled.
constexpr VcpuId kVcpu = 1;

struct Options {
  MachineOptions machine;
  int control_fd = -1;
  int history_fd = -1;
  std::string socket;
  std::string log_directory;
  bool log_timestamps = false;
  uint64_t log_max_bytes = 0;
  uint32_t log_keep = 1;
  uint32_t history_kib = 64;
  uint32_t history_mib = 64;
  std::string group;
  LogOptions log;
};

Status serve(const Options& options) {
  if (!options.group.empty()) TRY_VOID(admit_group(options.group));
  // Root's own: logs and sockets in other users' directories, and the sockets' group.
  TRY_VOID(sandbox::drop_privileges({CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_FOWNER}));
  TRY_VOID(sandbox::refuse_what_daemons_never_do(false));
  // The machine ends with polisd. polisd's death between fork and here shows as the end of the control socket.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  machine::Machine machine = TRY(machine::Machine::attach(options.machine.memory(), options.machine.doorbells()));
  machine::my_statistics = &machine::statistics_of(machine::dom0_doorbell(kVcpu));
  event::EventChannels channels(machine);
  event::Consumer consumer = TRY(event::Consumer::attach(channels, kVcpu));
  const MonotonicClock clock;
  const CalendarClock calendar;
  const auto history = TRY(console::History::open(Fd(options.history_fd),
                                                  {options.history_kib * 1024, uint64_t{options.history_mib} << 20}));
  grant::GrantTables grants(machine);
  console::MachineLink link(consumer, grants);
  console::Server server(link, *history, clock, calendar);
  console::Control control(Fd(options.control_fd), server);
  // A log that may not grow (ulimit -f) is an error like a full disk. SIGHUP, as to xenconsoled: somebody has renamed
  // logs.
  signal(SIGXFSZ, SIG_IGN);
  Signals signals = TRY(Signals::take_over({SIGTERM, SIGINT, SIGHUP}));
  EventLoop loop = TRY(EventLoop::create());
  const auto logs = TRY(
      console::LogWriter::open(server, loop, clock,
                               {options.log_directory, options.log_timestamps, options.log_max_bytes, options.log_keep,
                                std::min<uint64_t>(console::LogWriter::kBatchBytes, options.history_kib * 256)}));
  bool stopping = false;
  Status status;
  TRY_VOID(loop.add(signals.fd(), EPOLLIN, [&](uint32_t) {
    if (signals.next() == SIGHUP) return logs->reopen();
    stopping = true;
  }));
  TRY_VOID(
      loop.add(consumer.fd(), EPOLLIN, [&](uint32_t) { consumer.drain([&](Port port) { server.on_event(port); }); }));
  TRY_VOID(loop.add(control.fd(), EPOLLIN, [&](uint32_t) {
    const Result<bool> open = control.serve();
    if (!open) status = tl::make_unexpected(open.error());
    if (!open || !*open) stopping = true;
  }));
  const auto letting_go = TRY(LettingGo::create(loop, {machine.memory(), history->memory()}));
  console::Terminals terminals(server, loop, [&](const console::ConsoleReply& reply) {
    if (Status told = control.tell(reply); !told) status = std::move(told);
  });
  control.on_open_terminal([&](console::ConsoleId console) { terminals.open(console); });
  const auto sessions = TRY(console::Sessions::open(options.socket, server, loop, calendar));
  log::info("logging consoles to {}", options.log_directory);
  bool is_busy = false;
  while (!stopping) {
    TRY_VOID(loop.run_once_patiently(is_busy ? 0 : -1));
    server.run_turns();
    logs->turn();
    sessions->turn();
    is_busy = server.has_work() || sessions->has_work();
    is_busy |= letting_go->turn();
    machine::note_service(machine::ConsoleCounter::kConsoles, server.consoles());
  }
  return status;
}

}  // namespace
}  // namespace xenopolis

int main(int argc, char** argv) {
  xenopolis::Options options;
  CLI::App app("The console daemon of Xenopolis. polisd starts it.", "polis-consoled");
  options.machine.add_to(app)->required();
  app.add_option("--control-fd", options.control_fd, "inherited SOCK_SEQPACKET socket to polisd")->required();
  app.add_option("--history-fd", options.history_fd,
                 "inherited memory in which what consoles have written lately outlives this process")
      ->required();
  app.add_option("--history-kib", options.history_kib, "so much of each console, in KiB")->capture_default_str();
  app.add_option("--history-mib", options.history_mib, "so much of all consoles, in MiB")->capture_default_str();
  app.add_option("--socket", options.socket, "unix socket for those who look at consoles")->required();
  app.add_flag("--log-timestamps", options.log_timestamps, "each line of a log begins with its time");
  app.add_option("--log-max-bytes", options.log_max_bytes,
                 "a log that is longer becomes NAME.log.1, and a new one begins; 0: never")
      ->capture_default_str();
  app.add_option("--log-keep", options.log_keep, "so many of these are kept")->capture_default_str();
  app.add_option("--log-dir", options.log_directory, "directory for NAME.log")->required();
  options.log.add_to(app);
  app.add_option("--group", options.group, "whose members may use the sockets too: a name or number")
      ->envname(xenopolis::kGroupVariable);
  CLI11_PARSE(app, argc, argv);
  options.log.start("polis-consoled");
  if (const xenopolis::Status served = xenopolis::serve(options); !served) {
    xenopolis::log::error("{}", served.error().message());
    return 1;
  }
  return 0;
}
