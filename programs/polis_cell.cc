// polis-cell: a process that runs the vCPUs of up to 64 domains. Started by polisd.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>

#include "base/log.h"
#include "common_options.h"
#include "vcpu/cell.h"
#include "vcpu/cell_protocol.h"
#include "vcpu/cell_sandbox.h"

namespace xenopolis {
namespace {

struct Options {
  MachineOptions machine;
  int control_fd = -1;
  uint32_t cell = 0;
  std::string backend;
  uint64_t slice_us = 1000;
  LogOptions log;
};

// Where memory runs out the kernel ends a cell, with its domains, rather than what all depend on (proc(5)). The score
// is the most there is: the daemons look into every guest's rings, and what they have mapped grows with the guests.
void go_first_when_memory_runs_out() {
  const Fd adjustment(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  constexpr std::string_view kFirst = "1000";
  if (adjustment && write(adjustment.get(), kFirst.data(), kFirst.size()) < 0)
    log::debug("oom_score_adj cannot be set");
}

Status serve(const Options& options) {
  // The machine ends with polisd. polisd's death between fork and here shows as the end of the control socket.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Ctrl-C reaches everybody in polisd's terminal; polisd ends its cells in order.
  signal(SIGINT, SIG_IGN);

  machine::Machine machine =
      TRY(machine::Machine::attach(options.machine.memory(), options.machine.doorbells(), machine::Reach::kOnDemand));
  const std::unique_ptr<vcpu::Backend> backend =
      TRY(options.backend == "kvm" ? vcpu::create_kvm_backend() : vcpu::create_hosted_backend());
  vcpu::Cell cell(machine, *backend, Fd(options.control_fd),
                  {.number = options.cell, .slice_ns = options.slice_us * 1000});
  go_first_when_memory_runs_out();
  TRY_VOID(vcpu::enter_sandbox(*backend, options.control_fd, options.machine.doorbell_fds));
  return cell.run();
}

}  // namespace
}  // namespace xenopolis

int main(int argc, char** argv) {
  xenopolis::Options options;
  CLI::App app("Runs the vCPUs of up to 64 domains. Started by polisd.");
  options.machine.add_to(app)->required();
  app.add_option("--control-fd", options.control_fd, "SOCK_SEQPACKET socket to polisd")->required();
  app.add_option("--cell", options.cell, "number of this cell, which is its doorbell's")
      ->required()
      ->check(CLI::Range(0u, xenopolis::machine::kCellCount - 1));
  app.add_option("--backend", options.backend, "kvm, or hosted: without isolation")
      ->required()
      ->check(CLI::IsMember({"kvm", "hosted"}));
  app.add_option("--slice-us", options.slice_us, "what a vCPU runs for while others want to, in microseconds")
      ->capture_default_str()
      ->check(CLI::Range(50, 1'000'000));
  options.log.add_to(app);
  CLI11_PARSE(app, argc, argv);
  options.log.start("polis-cell");
  xenopolis::use_all_descriptors();
  const xenopolis::Status status = xenopolis::serve(options);
  if (status) return 0;
  xenopolis::log::error("cell {}: {}", options.cell, status.error().message());
  const xenopolis::vcpu::CellReply reply = xenopolis::vcpu::not_started(status.error());
  (void)send(options.control_fd, &reply, sizeof reply, MSG_DONTWAIT | MSG_NOSIGNAL);
  return 1;
}
