#include "toolstack/host.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/clock.h"
#include "base/log.h"
#include "domain/registry.h"
#include "toolstack/unix_socket.h"
#include "vcpu/backend.h"

namespace xenopolis::toolstack {
namespace {

constexpr int kServicePatienceMs = 10'000;
// A daemon that ends more often than this is not started again.
constexpr size_t kMaxEnds = 10;
constexpr uint64_t kEndsWithinNs = 10'000'000'000;

}  // namespace

Result<BackendChoice> choose_backend(const std::string& wanted) {
  if (wanted == "hosted") return BackendChoice{"hosted", "as asked for; it does not isolate guests"};
  if (wanted != "kvm" && wanted != "auto") {
    return fail(EINVAL, fmt::format("backend \"{}\" (auto, kvm or hosted)", wanted));
  }
  const auto kvm = vcpu::create_kvm_backend();
  if (kvm) return BackendChoice{"kvm", wanted == "kvm" ? "as asked for" : "/dev/kvm works"};
  if (wanted == "kvm") return tl::make_unexpected(kvm.error());
  return BackendChoice{"hosted", kvm.error().message() + "; hosted guests are not isolated"};
}

Host::Host(EventLoop& loop, HostConfig config, BackendChoice backend, machine::Machine machine)
    : loop_(loop),
      config_(std::move(config)),
      backend_(std::move(backend)),
      machine_(std::move(machine)),
      events_(machine_),
      grants_(machine_) {}

Host::~Host() {
  control_.reset();
  lifecycle_.reset();
  cells_.reset();
  consoles_.reset();
  console_link_.reset();
  xenstore_.reset();
  for (const auto* service : {&xenstored_, &consoled_}) {
    if (*service) loop_.remove((*service)->pidfd());
  }
}

Result<std::unique_ptr<Host>> Host::start(EventLoop& loop, const HostConfig& config) {
  BackendChoice backend = TRY(choose_backend(config.backend));
  machine::Machine machine = TRY(machine::Machine::create());
  std::unique_ptr<Host> host(new Host(loop, config, std::move(backend), std::move(machine)));
  TRY_VOID(event::create_dom0(host->events_, config.event_abi));
  TRY_VOID(host->start_services());
  return host;
}

Status Host::start_service(std::unique_ptr<Process>& slot, const std::string& program,
                           std::vector<std::string> arguments, std::initializer_list<Inherited> inherited,
                           std::function<void(const std::string&)> ended) {
  std::vector<int> fds = machine_.fds();
  for (const std::string& argument : machine_arguments()) arguments.push_back(argument);
  int number = kFdAfterMachine;
  for (const Inherited& more : inherited) {
    fds.push_back(more.fd.get());
    arguments.insert(arguments.end(), {std::string(more.option), std::to_string(number++)});
  }
  arguments.insert(arguments.end(), {"--log-level", config_.log_level});
  slot = std::make_unique<Process>(TRY(Process::spawn(program_directory() + "/" + program, arguments, fds)));
  return loop_.add(slot->pidfd(), EPOLLIN, [this, &slot, ended = std::move(ended)](uint32_t) {
    const auto at_end = ended;  // remove() destroys this function
    loop_.remove(slot->pidfd());
    at_end(slot->reap());
  });
}

void Host::fail_with(const std::string& why) {
  failure_ = why;
  log::error("{}: the host stops", failure_);
  loop_.stop();
}

Status Host::start_xenstored() {
  return start_service(xenstored_, "polis-xenstored", {"--socket", config_.run_directory + "/xenstored.sock"},
                       {{"--journal-fd", xenstore_journal_}}, [this](const std::string& how) {
                         on_service_end("polis-xenstored", how, xenstored_ends_ns_, &Host::start_xenstored);
                       });
}

Status Host::start_consoled() {
  std::vector<std::string> arguments{"--log-dir",       config_.run_directory + "/console",
                                     "--socket",        config_.run_directory + "/console.sock",
                                     "--log-max-bytes", std::to_string(config_.console_log_max_bytes),
                                     "--log-keep",      std::to_string(config_.console_log_keep)};
  if (config_.console_timestamps) arguments.push_back("--log-timestamps");
  SocketPair control = TRY(seqpacket_pair());
  TRY_VOID(start_service(consoled_, "polis-consoled", arguments,
                         {{"--control-fd", control.theirs}, {"--history-fd", console_history_}},
                         [this](const std::string& how) {
                           on_service_end("polis-consoled", how, consoled_ends_ns_, &Host::start_consoled);
                         }));
  return console_link_->connect(std::move(control.ours));
}

// Guests and clients go on with the next one.
void Host::on_service_end(const std::string& program, const std::string& how, std::deque<uint64_t>& ends_ns,
                          Status (Host::*start_again)()) {
  const uint64_t now = MonotonicClock().now_ns();
  ends_ns.push_back(now);
  while (now - ends_ns.front() > kEndsWithinNs) ends_ns.pop_front();
  events_.repair_dom0();
  if (ends_ns.size() > kMaxEnds)
    return fail_with(fmt::format("{} {}, for the {}th time", program, how, ends_ns.size()));
  log::warn("{} {}: starting it again", program, how);
  if (const Status started = (this->*start_again)(); !started) fail_with(started.error().message());
}

Status Host::start_services() {
  const std::string xenstore_socket = config_.run_directory + "/xenstored.sock";
  const std::string console_directory = config_.run_directory + "/console";
  std::error_code ignored;
  std::filesystem::create_directories(console_directory, ignored);
  xenstore_journal_ = Fd(memfd_create("polis-xenstore-journal", MFD_CLOEXEC));
  if (!xenstore_journal_) return fail_errno("memory for the xenstore's journal");
  TRY_VOID(start_xenstored());
  console_history_ = Fd(memfd_create("polis-console-history", MFD_CLOEXEC));
  if (!console_history_) return fail_errno("memory for what consoles have written");
  console_link_ = std::make_unique<ConsoleLink>(loop_);
  TRY_VOID(start_consoled());
  xenstore_ = TRY(XenstoreClient::connect(loop_, xenstore_socket, kServicePatienceMs));
  consoles_ = std::make_unique<DomainConsoles>(*xenstore_, *console_link_);

  CellPoolConfig cells;
  cells.cell_program = program_directory() + "/polis-cell";
  cells.backend = backend_.name;
  cells.log_level = config_.log_level;
  cells.domains_per_cell = config_.domains_per_cell;
  cells.open_cells = static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  cells_ = std::make_unique<CellPool>(
      loop_, machine_, cells, [this](uint32_t, const vcpu::CellReply& reply) { lifecycle_->on_cell_reply(reply); },
      [this](uint32_t cell, const std::string& how, const std::vector<DomId>& domains) {
        log::error("cell {} was {}: {} domains end with it", cell, how, domains.size());
        events_.repair_dom0();
        lifecycle_->on_cell_death(how, domains);
      });
  LifecycleConfig lifecycle;
  // 3-level is for Dom0 and driver domains.
  lifecycle.event_abi = event::guest_abi(config_.event_abi);
  lifecycle.backend = backend_.name == "kvm" ? domain::Backend::kKvm : domain::Backend::kHosted;
  lifecycle.reserve_mib = config_.reserve_mib;
  lifecycle_ = std::make_unique<Lifecycle>(
      machine_, events_, grants_, *cells_, *xenstore_, *consoles_, lifecycle,
      [this](std::string_view what, DomId domid, const std::string& name, const std::string& why) {
        if (control_) control_->publish({{"event", what}, {"domid", domid}, {"name", name}, {"why", why}});
      });
  control_ = TRY(ControlServer::listen(
      loop_, config_.run_directory + "/polisd.sock",
      [this](ControlServer::ClientId client, const nlohmann::json& request) { handle(client, request); }));
  return {};
}

nlohmann::json Host::list() const {
  nlohmann::json domains = nlohmann::json::array();
  lifecycle_->for_each([&](DomId domid, const std::string& name) {
    const domain::DomainRecord& record = domain::record_of(domid);
    domains.push_back({{"domid", domid},
                       {"name", name},
                       {"state", domain::name_of(domain::state_of(domid))},
                       {"memory_kib", record.ram_pages * (kPageSize / 1024)},
                       {"cell", record.cell},
                       {"cpu_time_ns", record.run_time_ns.load()}});
  });
  return {{"domains", domains}};
}

void Host::handle(ControlServer::ClientId client, const nlohmann::json& request) {
  const std::string op = request["op"];
  if (op == "create") {
    DomainSpec spec;
    spec.name = request.at("name");
    spec.memory_mib = request.value("memory_mib", uint64_t{4});
    spec.image = request.at("image");
    spec.command_line = request.value("command_line", std::string());
    spec.max_event_channels = request.value("max_event_channels", spec.max_event_channels);
    spec.consoles = request.value("consoles", spec.consoles);
    lifecycle_->create(spec, [this, client, request](Result<DomId> domid) {
      if (domid) return control_->reply(client, request, {{"domid", *domid}});
      control_->refuse(client, request, domid.error());
    });
  } else if (op == "destroy") {
    lifecycle_->destroy(request.at("domid"), [this, client, request](const Status& status) {
      if (status) return control_->reply(client, request, nlohmann::json::object());
      control_->refuse(client, request, status.error());
    });
  } else if (op == "list") {
    control_->reply(client, request, list());
  } else if (op == "subscribe") {
    control_->subscribe(client);
    control_->reply(client, request, nlohmann::json::object());
  } else if (op == "info") {
    nlohmann::json processes{{"polisd", getpid()},
                             {"polis-xenstored", xenstored_->pid()},
                             {"polis-consoled", consoled_->pid()},
                             {"cells", cells_->pids()}};
    control_->reply(client, request,
                    {{"backend", backend_.name},
                     {"backend_why", backend_.why},
                     {"event_abi", event::name_of(config_.event_abi)},
                     {"domains", lifecycle_->count()},
                     {"processes", processes},
                     {"machine_bytes", machine_.resident_bytes()}});
  } else if (op == "attach") {
    // Whoever has the machine is as trusted as Dom0: the socket's permissions are the gate.
    if (const Status sent = control_->reply_with_fds(client, request, nlohmann::json::object(), machine_.fds());
        !sent) {
      control_->refuse(client, request, sent.error());
    }
  } else if (op == "stop") {
    control_->reply(client, request, nlohmann::json::object());
    loop_.stop();
  } else {
    control_->refuse(client, request, Error{ENOSYS, fmt::format("no operation \"{}\"", op)});
  }
}

}  // namespace xenopolis::toolstack
