// polis-xenstored beside a machine whose guests are this process.
#include <sys/mman.h>

#include "common/basics.h"
#include "common/machine_guests.h"
#include "daemon.h"
#include "toolstack/process.h"

namespace xenopolis::bench {
namespace {

class OurDaemon final : public Daemon {
 public:
  OurDaemon(const Kind& kind, const std::string& directory) {
    socket_path_ = directory + "/socket";
    machine_file_ = kMachineFile;
    std::vector<std::string> arguments{"--pdeathsig", "KILL",        kind.program, "--socket",
                                       socket_path_,  "--log-level", "warn"};
    for (const std::string& argument : toolstack::machine_arguments()) arguments.push_back(argument);
    std::vector<int> fds = guests_.fds();
    const Fd journal(memfd_create("bench-xenstore-journal", MFD_CLOEXEC));
    require(static_cast<bool>(journal), "memory for the journal can be had");
    fds.push_back(journal.get());
    arguments.push_back("--journal-fd");
    arguments.push_back(std::to_string(toolstack::kFdAfterMachine));
    process_.emplace(value_or_give_up(toolstack::Process::spawn("/usr/bin/setpriv", arguments, fds)));
    pid_ = process_->pid();
    wait_until_it_serves();
  }

  void add_guest(DomId domid) override { guests_.add(domid); }
  Gfn ring_gfn() const override { return MachineGuests::kPageGfn; }
  Port ring_port(DomId domid) const override { return guests_.port(domid); }
  xenstore_domain_interface& ring(DomId domid) override {
    return *reinterpret_cast<xenstore_domain_interface*>(MachineGuests::page(domid));
  }
  void notify(DomId domid) override { guests_.notify(domid); }
  bool wait(DomId domid) override { return guests_.wait(domid); }

 private:
  MachineGuests guests_;
  std::optional<toolstack::Process> process_;
};

}  // namespace

Kind our_kind(const std::string& program) {
  return {.name = "ours",
          .description = fmt::format("{} ({} build), as polisd starts it", program, BENCH_BUILD_TYPE),
          .has_guests = true,
          .start = [](const Kind& kind, const std::string& directory) -> std::unique_ptr<Daemon> {
            return std::make_unique<OurDaemon>(kind, directory);
          },
          .program = program};
}

}  // namespace xenopolis::bench
