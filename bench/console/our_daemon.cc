// polis-consoled beside a machine whose guests are this process.
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>

#include "common/basics.h"
#include "common/machine_guests.h"
#include "console/console_protocol.h"
#include "daemon.h"
#include "session_reader.h"
#include "toolstack/process.h"

namespace xenopolis::bench {
namespace {

// Requests on the way to the daemon, which answers each.
constexpr uint32_t kAttachmentsInFlight = 64;

DomId domid_of(uint32_t console) {
  return static_cast<DomId>(console + 1);
}

std::string name_of(uint32_t console) {
  return fmt::format("guest-{}", console);
}

class OurConsoleDaemon final : public ConsoleDaemon {
 public:
  OurConsoleDaemon(const ConsoleKind& kind, uint32_t consoles, const std::string& directory)
      : consoles_(consoles), directory_(directory), history_(memfd_create("bench-console-history", MFD_CLOEXEC)) {
    require(static_cast<bool>(history_), "memory for the history can be had");
    std::filesystem::create_directories(directory + "/log");
    int sockets[2];
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0, "a socket pair can be had");
    control_ = Fd(sockets[0]);
    const Fd theirs(sockets[1]);
    std::vector<std::string> arguments{"--pdeathsig", "KILL",        kind.program, "--log-level",     "warn",
                                       "--socket",    socket_path(), "--log-dir",  directory + "/log"};
    for (const std::string& argument : toolstack::machine_arguments()) arguments.push_back(argument);
    std::vector<int> fds = guests_.fds();
    for (const auto& [option, fd] : {std::pair("--control-fd", theirs.get()), {"--history-fd", history_.get()}}) {
      arguments.push_back(option);
      arguments.push_back(std::to_string(toolstack::kFirstInheritedFd + fds.size()));
      fds.push_back(fd);
    }
    process_.emplace(value_or_give_up(toolstack::Process::spawn("/usr/bin/setpriv", arguments, fds)));
    pid_ = process_->pid();
  }

  // With the streams, which no process has mapped for long: polisd holds them.
  uint64_t own_bytes() const override {
    struct stat status {};
    require(fstat(history_.get(), &status) == 0, "the history's size is known");
    const Memory memory = memory_of(pid_, kMachineFile);
    return memory.anonymous_bytes + memory.page_table_bytes + static_cast<uint64_t>(status.st_blocks) * 512;
  }

  void attach() override {
    for (uint32_t console = 0; console < consoles_; ++console) guests_.add(domid_of(console));
    for (uint32_t sent = 0, answered = 0; answered < consoles_; ++answered) {
      for (; sent < consoles_ && sent < answered + kAttachmentsInFlight; ++sent) ask_to_attach(sent);
      console::ConsoleReply reply{};
      require(recv(control_.get(), &reply, sizeof reply, 0) == sizeof reply, "the daemon answers");
      if (reply.kind != console::ConsoleReplyKind::kAttached) {
        give_up("console {} cannot be attached: error {}", reply.console.domid, reply.error);
      }
    }
  }

  xencons_interface& ring(uint32_t console) override {
    return *reinterpret_cast<xencons_interface*>(MachineGuests::page(domid_of(console)));
  }
  void notify(uint32_t console) override { guests_.notify(domid_of(console)); }
  bool wait(uint32_t console) override { return guests_.wait(domid_of(console)); }

  std::unique_ptr<Reader> attach_reader(uint32_t console) override {
    return std::make_unique<SessionReader>(socket_path(), name_of(console), /*writes=*/false);
  }
  std::string log_of(uint32_t console) const override {
    return fmt::format("{}/log/{}.log", directory_, name_of(console));
  }

 private:
  std::string socket_path() const { return directory_ + "/console.sock"; }

  void ask_to_attach(uint32_t console) {
    console::ConsoleRequest request{};
    request.kind = console::ConsoleRequestKind::kAttach;
    request.console = {domid_of(console), 0};
    request.remote_port = guests_.port(domid_of(console));
    request.gfn = MachineGuests::kPageGfn;
    request.incarnation = console + 1;
    name_of(console).copy(request.name, sizeof request.name - 1);
    require(send(control_.get(), &request, sizeof request, MSG_NOSIGNAL) == sizeof request,
            "the daemon takes requests");
  }

  const uint32_t consoles_;
  const std::string directory_;
  MachineGuests guests_;
  Fd control_, history_;
  std::optional<toolstack::Process> process_;
};

}  // namespace

ConsoleKind our_console_kind(const std::string& program) {
  return {.name = "ours",
          .description = fmt::format("{} ({} build), as polisd starts it; readers attach to its socket", program,
                                     BENCH_BUILD_TYPE),
          .most_consoles = kDomIdCount - 1,
          .end = "domain numbers",
          .start = [](const ConsoleKind& kind, uint32_t consoles,
                      const std::string& directory) -> std::unique_ptr<ConsoleDaemon> {
            return std::make_unique<OurConsoleDaemon>(kind, consoles, directory);
          },
          .program = program};
}

}  // namespace xenopolis::bench
