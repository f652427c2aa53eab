// polis-xenstored: the xenstore daemon.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/log.h"
#include "event/consumer.h"
#include "machine/domain_memory.h"
#include "machine/machine.h"
#include "xenstore/server.h"
#include "xenstore/socket.h"

namespace xenopolis {
namespace {

// Dom0's vCPU that this daemon is.
constexpr VcpuId kVcpu = 0;

struct Options {
  std::string socket;
  bool standalone = false;
  int machine_fd = -1;
  std::vector<int> doorbell_fds;
  std::string log_level = "info";
};

Result<Fd> signals_as_descriptor() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return fail_errno("blocking SIGTERM");
  Fd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno("signalfd");
  return fd;
}

// Every client is a descriptor.
void allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The rings of the machine's domains, and their event channels.
class MachineLink final : public xenstore::DomainLink {
 public:
  static Result<std::unique_ptr<MachineLink>> create(const Options& options) {
    std::vector<Fd> doorbells;
    for (const int fd : options.doorbell_fds) doorbells.emplace_back(fd);
    auto machine = TRY(machine::Machine::attach(Fd(options.machine_fd), std::move(doorbells)));
    std::unique_ptr<MachineLink> link(new MachineLink(std::move(machine)));
    link->consumer_.emplace(TRY(event::Consumer::attach(link->channels_, kVcpu)));
    return link;
  }

  xenstore::XsResult<xenstore::AttachedRing> attach(DomId domid, Gfn gfn, Port port) override {
    uint8_t* page = machine::memory_of(domid).page(gfn);
    if (page == nullptr) return xenstore::xs_fail(xenstore::XsError::kInval);
    const XenResult<Port> local = consumer_->bind_interdomain(domid, port);
    if (!local) {
      log::warn("binding port {} of domain {}: errno {}", port, domid, static_cast<int>(local.error()));
      return xenstore::xs_fail(local.error() == XenErrno::kNoSpc ? xenstore::XsError::kNoSpc
                                                                 : xenstore::XsError::kInval);
    }
    domains_[*local] = domid;
    return xenstore::AttachedRing{reinterpret_cast<xenstore_domain_interface*>(page),
                                  std::make_unique<BoundPort>(*this, *local)};
  }

  bool exists(DomId domid) const override { return machine::memory_of(domid).extent.pages != 0; }

  int fd() const { return consumer_->fd(); }
  void drain(xenstore::Server& server) {
    consumer_->drain([&](Port port) {
      const auto domain = domains_.find(port);
      if (domain != domains_.end()) server.domain_event(domain->second);
    });
  }

 private:
  class BoundPort final : public xenstore::RingPort {
   public:
    BoundPort(MachineLink& link, Port port) : link_(link), port_(port) {}
    ~BoundPort() override {
      link_.domains_.erase(port_);
      if (!link_.consumer_->close(port_)) log::warn("closing port {} failed", port_);
    }
    // Fails when the domain has closed its end: then nobody waits.
    void notify() override { (void)link_.consumer_->send(port_); }

   private:
    MachineLink& link_;
    Port port_;
  };

  explicit MachineLink(machine::Machine machine) : machine_(std::move(machine)), channels_(machine_) {}

  machine::Machine machine_;
  event::EventChannels channels_;
  std::optional<event::Consumer> consumer_;
  std::unordered_map<Port, DomId> domains_;  // by our port
};

// How long there is nothing to do unless something happens; -1: for ever.
int idle_ms(xenstore::Server& server) {
  if (!server.ready().empty()) return 0;
  const uint64_t deadline_ns = server.turns().next_deadline_ns();
  if (deadline_ns == 0) return -1;
  const uint64_t now_ns = MonotonicClock().now_ns();
  return deadline_ns <= now_ns ? 0 : static_cast<int>((deadline_ns - now_ns) / 1'000'000 + 1);
}

Status serve(const Options& options) {
  allow_many_descriptors();
  const Fd signals = TRY(signals_as_descriptor());
  EventLoop loop = TRY(EventLoop::create());
  std::unique_ptr<MachineLink> link;
  if (!options.standalone) link = TRY(MachineLink::create(options));
  xenstore::Server server(link.get());
  server.control().set_directory(std::filesystem::path(options.socket).parent_path().string());
  if (link) TRY_VOID(loop.add(link->fd(), EPOLLIN, [&](uint32_t) { link->drain(server); }));
  const auto listener = TRY(xenstore::SocketListener::open(options.socket, server, loop));
  bool stopping = false;
  TRY_VOID(loop.add(signals.get(), EPOLLIN, [&](uint32_t) { stopping = true; }));
  log::info("serving {}", options.socket);
  while (!stopping) {
    TRY_VOID(loop.run_once(idle_ms(server)));
    if (server.turns().next_deadline_ns() != 0) server.turns().advance();
    server.ready().run_once();
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
  auto* machine = app.add_option("--machine-fd", options.machine_fd, "descriptor of the machine's memory");
  auto* doorbells = app.add_option("--doorbell-fds", options.doorbell_fds, "eventfds of Dom0's vCPUs")->delimiter(',');
  machine->needs(doorbells)->excludes(standalone);
  app.add_option("--log-level", options.log_level, "error, warn, info or debug");
  CLI11_PARSE(app, argc, argv);
  if (!options.standalone && options.machine_fd < 0) {
    std::fputs("polis-xenstored: --machine-fd or --standalone is required\n", stderr);
    return 2;
  }
  xenopolis::log::start("polis-xenstored", options.log_level);
  if (const xenopolis::Status served = xenopolis::serve(options); !served) {
    xenopolis::log::error("{}", served.error().message());
    return 1;
  }
  return 0;
}
