// polis-xenstored: the xenstore daemon.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/letting_go.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/signals.h"
#include "base/unix_socket.h"
#include "common_options.h"
#include "machine/service_counters.h"
#include "xenstore/checkpoint.h"
#include "xenstore/live_update.h"
#include "xenstore/machine_link.h"
#include "xenstore/socket.h"

namespace xenopolis {
namespace {

struct Options {
  std::string socket;
  bool standalone = false;
  MachineOptions machine;
  std::string journal;
  int journal_fd = -1;
  int saved_fd = -1;
  std::string group;
  LogOptions log;
};

Result<std::unique_ptr<xenstore::MachineLink>> link_machine(const Options& options) {
  return xenstore::MachineLink::create(options.machine.memory(), options.machine.doorbells());
}

// Without a file the journal is memory that goes with the process, but not in a live update.
Result<std::unique_ptr<xenstore::Journal>> open_journal(const Options& options, int& descriptor) {
  Fd file(options.journal_fd);
  if (!file && !options.journal.empty()) {
    file = Fd(open(options.journal.c_str(), O_RDWR | O_CREAT, 0600));
    if (!file) return fail_errno("opening the journal " + options.journal);
  } else if (!file) {
    file = Fd(memfd_create("xenstore-journal", 0));
    if (!file) return fail_errno("memory for the journal");
  }
  descriptor = file.get();
  return xenstore::Journal::open(std::move(file));
}

Result<std::unique_ptr<xenstore::SocketListener>> open_socket(const Options& options, xenstore::Server& server,
                                                              EventLoop& loop) {
  if (options.saved_fd < 0) return xenstore::SocketListener::open(options.socket, server, loop);
  const std::string saved = TRY(xenstore::read_saved(Fd(options.saved_fd)));
  return xenstore::SocketListener::resume(options.socket, saved, server, loop);
}

// How long there is nothing to do unless something happens; -1: for ever.
int idle_ms(xenstore::Server& server) {
  if (!server.ready().empty()) return 0;
  const uint64_t deadline_ns = server.turns().next_deadline_ns();
  if (deadline_ns == 0) return -1;
  const uint64_t now_ns = MonotonicClock().now_ns();
  return deadline_ns <= now_ns ? 0 : static_cast<int>((deadline_ns - now_ns) / 1'000'000 + 1);
}

Status serve(const Options& options, xenstore::LiveUpdate& update) {
  if (!options.group.empty()) TRY_VOID(admit_group(options.group));
  // Of all that, a program that a live update has started inherits what there was. It executes the next one.
  if (options.saved_fd < 0) {
    // Root's own: the socket, journal and files of control commands in other users' directories, and the socket's
    // group.
    TRY_VOID(sandbox::drop_privileges({CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_FOWNER}));
    TRY_VOID(sandbox::refuse_what_daemons_never_do(true));
  }
  // The machine ends with polis-keeper, which has started this: the socket is for those of the next one.
  if (!options.standalone) prctl(PR_SET_PDEATHSIG, SIGKILL);
  use_all_descriptors();
  const Signals signals = TRY(Signals::take_over({SIGTERM, SIGINT}));
  EventLoop loop = TRY(EventLoop::create());
  std::unique_ptr<xenstore::MachineLink> link;
  if (!options.standalone) {
    link = TRY(link_machine(options));
    machine::my_statistics = &machine::statistics_of(machine::dom0_doorbell(xenstore::MachineLink::kVcpu));
  }
  int journal_fd = -1;
  const auto journal = TRY(open_journal(options, journal_fd));
  xenstore::Server server(link.get());
  server.control().set_directory(std::filesystem::path(options.socket).parent_path().string());
  server.control().on_live_update([&](xenstore::Control::Arguments arguments) { return update.command(arguments); });
  TRY_VOID(server.continue_from(*journal));
  xenstore::JournalKeeper keeper(server, *journal);
  if (link) TRY_VOID(loop.add(link->fd(), EPOLLIN, [&](uint32_t) { link->drain(server); }));
  const auto listener = TRY(open_socket(options, server, loop));
  std::vector<std::span<uint8_t>> shared{journal->memory()};
  if (link) shared.push_back(link->memory());
  const auto letting_go = TRY(LettingGo::create(loop, std::move(shared)));
  bool stopping = false;
  TRY_VOID(loop.add(signals.fd(), EPOLLIN, [&](uint32_t) { stopping = true; }));
  log::info("serving {}, {} domains", options.socket, server.domains().size());
  bool is_busy = false;
  while (!stopping) {
    TRY_VOID(loop.run_once_patiently(is_busy ? 0 : idle_ms(server)));
    if (server.turns().next_deadline_ns() != 0) server.turns().advance();
    server.ready().run_once();
    is_busy = keeper.work();
    is_busy |= letting_go->turn();
    machine::note_service(machine::XenstoreCounter::kWatches, server.watches().size());
    machine::note_service(machine::XenstoreCounter::kDomains, server.domains().size());
    if (update.is_due()) update.become_next(journal_fd, listener->save());
  }
  return {};
}

}  // namespace
}  // namespace xenopolis

int main(int argc, char** argv) {
  xenopolis::Options options;
  CLI::App app("The xenstore daemon of Xenopolis.", "polis-xenstored");
  app.add_option("--socket", options.socket, "unix socket for the clients of Dom0")->required();
  auto* standalone = app.add_flag("--standalone", options.standalone, "without a machine: no domain can be introduced");
  options.machine.add_to(app)->excludes(standalone);
  auto* journal = app.add_option("--journal", options.journal,
                                 "file from which the store continues, and that keeps it; memory otherwise");
  app.add_option("--journal-fd", options.journal_fd, "the same as a descriptor")->excludes(journal);
  app.add_option("--saved-fd", options.saved_fd, "what the program before a live update has left")->group("");
  options.log.add_to(app);
  app.add_option("--group", options.group, "whose members may use the sockets too: a name or number")
      ->envname(xenopolis::kGroupVariable);
  CLI11_PARSE(app, argc, argv);
  if (!options.standalone && options.machine.memory_fd < 0) {
    std::fputs("polis-xenstored: --machine-fd or --standalone is required\n", stderr);
    return 2;
  }
  options.log.start("polis-xenstored");
  xenopolis::xenstore::LiveUpdate update({argv, argv + argc});
  if (const xenopolis::Status served = xenopolis::serve(options, update); !served) {
    xenopolis::log::error("{}", served.error().message());
    return 1;
  }
  return 0;
}
