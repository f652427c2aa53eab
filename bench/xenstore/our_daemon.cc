// polis-xenstored beside a machine whose guests are this process.
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <set>

#include "common/basics.h"
#include "daemon.h"
#include "event/consumer.h"
#include "machine/domain_memory.h"
#include "machine/machine.h"
#include "toolstack/process.h"

namespace xenopolis::bench {
namespace {

// A guest's memory: the ring, and shared_info behind its RAM.
constexpr Gfn kRingGfn = 0;
constexpr uint64_t kRamPages = 1;

class OurDaemon final : public Daemon {
 public:
  OurDaemon(const Kind& kind, const std::string& directory)
      : machine_(value_or_give_up(machine::Machine::create())), channels_(machine_) {
    if (const Status created = event::create_dom0(channels_, event::Abi::kFifo); !created) {
      give_up("{}", created.error().message());
    }
    socket_path_ = directory + "/socket";
    machine_file_ = "/memfd:xenopolis-machine";
    std::vector<std::string> arguments{"--pdeathsig", "KILL",        kind.program, "--socket",
                                       socket_path_,  "--log-level", "warn"};
    for (const std::string& argument : toolstack::machine_arguments()) arguments.push_back(argument);
    std::vector<int> fds = machine_.fds();
    const Fd journal(memfd_create("bench-xenstore-journal", MFD_CLOEXEC));
    require(static_cast<bool>(journal), "memory for the journal can be had");
    fds.push_back(journal.get());
    arguments.push_back("--journal-fd");
    arguments.push_back(std::to_string(toolstack::kFdAfterMachine));
    process_.emplace(value_or_give_up(toolstack::Process::spawn("/usr/bin/setpriv", arguments, fds)));
    pid_ = process_->pid();
    wait_until_it_serves();
  }

  // Two-level, as every domain begins; events ring one of the doorbells that cells would have.
  void add_guest(DomId domid) override {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = value_or_give_up(machine_.frames().allocate_extent(kRamPages + 1));
    memory.ram_pages = kRamPages;
    event::DomainConfig config;
    config.shared_info = memory.page(kRamPages);
    require(channels_.create_domain(domid, config).has_value(), "a domain can be created");
    channels_.set_doorbell(domid, 0, bell_of(domid), domid % machine::kVcpusPerDoorbell);
    const XenResult<Port> port = channels_.alloc_unbound(domid, domid, kDom0);
    require(port.has_value() && *port < 64, "a guest's first port is in the first word of its bitmap");
    if (ports_.size() <= domid) ports_.resize(domid + 1u);
    ports_[domid] = *port;
  }

  Gfn ring_gfn() const override { return kRingGfn; }
  Port ring_port(DomId domid) const override { return ports_.at(domid); }
  xenstore_domain_interface& ring(DomId domid) override {
    return *reinterpret_cast<xenstore_domain_interface*>(machine::memory_of(domid).page(kRingGfn));
  }

  void notify(DomId domid) override {
    if (!channels_.send(domid, ports_[domid])) give_up("domain {} cannot notify the daemon", domid);
  }

  // Numbered by what must not be lost: an event that comes
  // 1. before the acknowledgement is found pending there, and the caller looks at its ring;
  // 2. after it is pending anew, which marks the doorbell, and sleep() returns.
  bool wait(DomId domid) override {
    machine::Doorbells& doorbells = machine_.doorbells();
    const machine::DoorbellId bell = bell_of(domid);
    if (adopted_.insert(bell).second) doorbells.adopt(bell);
    if (acknowledge(domid)) return true;
    const uint64_t deadline = now_ns() + uint64_t{kPatienceMs} * 1'000'000;
    doorbells.sleep(bell, deadline);
    doorbells.take(bell);
    return now_ns() < deadline;
  }

 private:
  static machine::DoorbellId bell_of(DomId domid) { return domid / machine::kVcpusPerDoorbell; }

  // As a guest's upcall does. True: something was pending.
  static bool acknowledge(DomId domid) {
    auto& shared = *reinterpret_cast<shared_info*>(machine::memory_of(domid).page(kRamPages));
    std::atomic_ref(shared.vcpu_info[0].evtchn_upcall_pending).exchange(0);
    std::atomic_ref(shared.vcpu_info[0].evtchn_pending_sel).exchange(0);
    return std::atomic_ref(shared.evtchn_pending[0]).exchange(0) != 0;
  }

  machine::Machine machine_;
  event::EventChannels channels_;
  std::optional<toolstack::Process> process_;
  std::vector<Port> ports_;  // by domid
  std::set<machine::DoorbellId> adopted_;
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
