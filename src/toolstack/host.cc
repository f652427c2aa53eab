#include "toolstack/host.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>

#include "base/clock.h"
#include "base/log.h"
#include "domain/existing.h"
#include "machine/statistics.h"
#include "toolstack/host_state.h"
#include "toolstack/operations.h"
#include "toolstack/unix_socket.h"
#include "vcpu/backend.h"

namespace xenopolis::toolstack {
namespace {

constexpr const char* kMachineKey = "machine";
// A daemon that ends more often than this is not started again.
constexpr size_t kMaxEnds = 10;
constexpr uint64_t kEndsWithinNs = 10'000'000'000;
// The first time it is started again at once. Then what is in its way may pass: the socket of one that still dies.
constexpr uint64_t kFirstDelayNs = 10'000'000;
constexpr uint64_t kLongestDelayNs = 1'000'000'000;
constexpr uint64_t kBetweenLooksNs = 1'000'000'000;
// A daemon that has not ended so long after it was told to is killed.
constexpr uint64_t kPatienceAtEndNs = 3'000'000'000;
// A daemon of which nobody wants anything is asked something every so many looks.
constexpr uint32_t kLooksBetweenQuestions = 5;

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

Host::Host(EventLoop& loop, HostConfig config, std::unique_ptr<Keeper> keeper, machine::Machine machine)
    : loop_(loop),
      config_(std::move(config)),
      keeper_(std::move(keeper)),
      machine_(std::move(machine)),
      events_(machine_),
      grants_(machine_) {
  machine::my_statistics = &machine::statistics_of(machine::kPolisdStatistics);
}

Host::~Host() {
  machine::my_statistics = nullptr;
  control_.reset();
  lifecycle_.reset();
  cells_.reset();
  consoles_.reset();
  console_link_.reset();
  xenstore_.reset();
  // In order, so that they take their sockets away.
  for (const Service* service : {&xenstored_, &consoled_}) {
    if (!service->process) continue;
    loop_.remove(service->process->pidfd());
    service->process->signal(SIGTERM);
  }
  const uint64_t deadline_ns = MonotonicClock().now_ns() + kPatienceAtEndNs;
  for (const Service* service : {&xenstored_, &consoled_}) {
    if (service->process) service->process->wait_until(deadline_ns);
  }
}

BackendChoice Host::backend() const {
  return {std::string(domain::name_of(host_state().backend)), host_state().backend_why};
}

Host::Pids Host::pids() const {
  return {getppid(), getpid(), xenstored_.process->pid(), consoled_.process->pid()};
}

// That of a polisd before this one, or a new one, which is kept when it is complete.
Result<machine::Machine> Host::take_machine(const HostConfig& config, Keeper& keeper, KeptByKey& kept) {
  if (const auto there = kept.find(kMachineKey); there != kept.end()) {
    std::vector<Fd>& fds = there->second.fds;
    if (fds.empty()) return fail(EPROTO, "polis-keeper holds a machine without memory");
    Fd memory = std::move(fds[0]);
    fds.erase(fds.begin());
    return machine::Machine::attach(std::move(memory), std::move(fds));
  }
  const BackendChoice backend = TRY(choose_backend(config.backend));
  machine::Machine machine = TRY(machine::Machine::create());
  event::EventChannels events(machine);
  TRY_VOID(event::create_dom0(events, config.event_abi));
  HostState& state = host_state();
  state.backend = backend.name == "kvm" ? domain::Backend::kKvm : domain::Backend::kHosted;
  state.backend_why[backend.why.copy(state.backend_why, sizeof state.backend_why - 1)] = '\0';
  state.event_abi = static_cast<uint32_t>(config.event_abi);
  state.started_s = time(nullptr);
  TRY_VOID(keeper.keep(kMachineKey, machine.fds()));
  return machine;
}

Result<std::unique_ptr<Host>> Host::start(EventLoop& loop, const HostConfig& config, std::unique_ptr<Keeper> keeper) {
  KeptByKey kept = TRY(keeper->all());
  machine::Machine machine = TRY(take_machine(config, *keeper, kept));
  std::unique_ptr<Host> host(new Host(loop, config, std::move(keeper), std::move(machine)));
  host->config_.event_abi = static_cast<event::Abi>(host_state().event_abi);
  if (++host_state().polisd_starts > 1) {
    log::info("going on with the machine of a polisd that has ended");
    // It may have died in the middle of anything.
    host->events_.repair_dom0();
    host->machine_.doorbells().poke_all();
  }
  TRY_VOID(host->start_services(std::move(kept)));
  return host;
}

Result<Fd> Host::lasting_memory(KeptByKey& kept, const std::string& key) {
  const auto there = kept.find(key);
  if (there != kept.end() && there->second.fds.size() == 1) return std::move(there->second.fds[0]);
  Fd memory(memfd_create(key.c_str(), MFD_CLOEXEC));
  if (!memory) return fail_errno("memory for the " + key);
  TRY_VOID(keeper_->keep(key, {memory.get()}));
  return memory;
}

Status Host::spawn(Service& service, std::vector<std::string> arguments, std::initializer_list<Inherited> inherited,
                   const std::vector<int>& kept) {
  std::vector<int> fds = machine_.fds();
  for (const std::string& argument : machine_arguments()) arguments.push_back(argument);
  int number = kFdAfterMachine;
  for (const Inherited& more : inherited) {
    fds.push_back(more.fd.get());
    arguments.insert(arguments.end(), {std::string(more.option), std::to_string(number++)});
  }
  arguments.insert(arguments.end(), {"--log-level", config_.log_level});
  service.process = std::make_unique<Process>(
      TRY(keeper_->spawn(service.program, program_directory() + "/" + service.program, arguments, fds, kept)));
  return watch(service);
}

Status Host::watch(Service& service) {
  return loop_.add(service.process->pidfd(), EPOLLIN, [this, &service](uint32_t) { on_service_end(service); });
}

void Host::fail_with(const std::string& why) {
  failure_ = why;
  log::error("{}: the host stops", failure_);
  loop_.stop();
}

Status Host::start_xenstored(KeptByKey& kept) {
  if (const auto there = kept.find(xenstored_.program); there != kept.end() && there->second.process) {
    xenstored_.process = std::move(there->second.process);
    return watch(xenstored_);
  }
  return spawn(xenstored_, {"--socket", config_.run_directory + "/xenstored.sock"},
               {{"--journal-fd", xenstore_journal_}}, {});
}

Status Host::start_consoled(KeptByKey& kept) {
  if (const auto there = kept.find(consoled_.program);
      there != kept.end() && there->second.process && there->second.fds.size() == 1) {
    consoled_.process = std::move(there->second.process);
    TRY_VOID(watch(consoled_));
    return console_link_->connect(std::move(there->second.fds[0]));
  }
  std::vector<std::string> arguments{"--log-dir",       config_.run_directory + "/console",
                                     "--socket",        config_.run_directory + "/console.sock",
                                     "--log-max-bytes", std::to_string(config_.console_log_max_bytes),
                                     "--log-keep",      std::to_string(config_.console_log_keep)};
  if (config_.console_timestamps) arguments.push_back("--log-timestamps");
  SocketPair control = TRY(seqpacket_pair());
  TRY_VOID(spawn(consoled_, arguments, {{"--control-fd", control.theirs}, {"--history-fd", console_history_}},
                 {control.ours.get()}));
  return console_link_->connect(std::move(control.ours));
}

// Guests and clients go on with the next one.
void Host::on_service_end(Service& service) {
  loop_.remove(service.process->pidfd());
  const std::string how = service.process->reap();
  const uint64_t now = MonotonicClock().now_ns();
  service.ends_ns.push_back(now);
  while (now - service.ends_ns.front() > kEndsWithinNs) service.ends_ns.pop_front();
  events_.repair_dom0();
  if (service.ends_ns.size() > kMaxEnds) {
    return fail_with(fmt::format("{} {}, for the {}th time", service.program, how, service.ends_ns.size()));
  }
  log::warn("{} {}: starting it again", service.program, how);
  const size_t ends = service.ends_ns.size();
  if (ends == 1) return start_again(service);
  loop_.at(now + std::min(kFirstDelayNs << (ends - 2), kLongestDelayNs), [this, &service] { start_again(service); });
}

void Host::start_again(Service& service) {
  KeptByKey nothing;
  if (const Status started = (this->*service.start)(nothing); !started) fail_with(started.error().message());
}

// It may end meanwhile, as when both polisd and it were killed.
Status Host::wait_for_xenstored() {
  while (!xenstore_->is_connected()) {
    if (!failure_.empty()) return fail(ECHILD, failure_);
    if (loop_.is_stopping()) return fail(EINTR, "told to stop before it has started");
    TRY_VOID(loop_.run_once(-1));
  }
  return {};
}

// Whoever does not answer keeps those waiting who have asked for a domain.
void Host::look_for_silence() {
  const uint32_t looks = ++looks_;
  if (xenstore_->requests_under_way() == 0 && looks % kLooksBetweenQuestions == 0) xenstore_->read("/", {});
  look_at(xenstored_, xenstore_->is_connected() && xenstore_->requests_under_way() != 0, xenstore_->answers());
  look_at(consoled_, console_link_->dialogue().is_asked(), console_link_->dialogue().answers);
  std::map<uint32_t, Silence> silent;
  cells_->for_each_asked([&](uint32_t cell, pid_t pid, uint64_t answers) {
    Silence& silence = silent[cell] = silent_cells_[cell];
    if (silence.look(true, answers) == warning_after()) {
      log::warn("cell {} (process {}) has not answered for {} s: its domains wait", cell, pid, warning_after());
    }
  });
  silent_cells_ = std::move(silent);
  loop_.at(MonotonicClock().now_ns() + kBetweenLooksNs, [this] { look_for_silence(); });
}

void Host::look_at(Service& service, bool is_asked, uint64_t answers) {
  const uint32_t looks = service.silence.look(is_asked, answers);
  const pid_t pid = service.process->pid();
  if (looks == warning_after() && looks < config_.patience_s) {
    log::warn("{} (process {}) has not answered for {} s", service.program, pid, looks);
  }
  if (looks != config_.patience_s) return;
  log::error("{} (process {}) has not answered for {} s: it is killed", service.program, pid, looks);
  service.process->signal(SIGKILL);
}

Status Host::start_services(KeptByKey kept) {
  // The longest: else the daemons would find out, each in its turn.
  TRY_VOID(check_socket_path(config_.run_directory + "/xenstored.sock"));
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(config_.run_directory).parent_path(), ignored);
  TRY_VOID(make_socket_directory(config_.run_directory));
  std::filesystem::create_directory(config_.run_directory + "/console", ignored);
  xenstore_journal_ = TRY(lasting_memory(kept, "xenstore-journal"));
  TRY_VOID(start_xenstored(kept));
  console_history_ = TRY(lasting_memory(kept, "console-history"));
  console_link_ = std::make_unique<ConsoleLink>(loop_);
  TRY_VOID(start_consoled(kept));
  xenstore_ = XenstoreClient::attend(loop_, config_.run_directory + "/xenstored.sock");
  TRY_VOID(wait_for_xenstored());
  consoles_ = std::make_unique<DomainConsoles>(*xenstore_, *console_link_);

  CellPoolConfig cells;
  cells.cell_program = program_directory() + "/polis-cell";
  cells.backend = domain::name_of(host_state().backend);
  cells.log_level = config_.log_level;
  cells.domains_per_cell = config_.domains_per_cell;
  cells.open_cells = static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  cells_ = std::make_unique<CellPool>(
      loop_, machine_, *keeper_, cells,
      [this](uint32_t cell, const vcpu::CellReply& reply) { lifecycle_->on_cell_reply(cell, reply); },
      [this](uint32_t cell, const Error& why, const std::vector<DomId>& domains) {
        log::error("cell {} {}; domains that end with it: {}", cell, why.what, domains.size());
        events_.repair_dom0();
        lifecycle_->on_cell_death(why, domains);
      });
  LifecycleConfig lifecycle;
  // 3-level is for Dom0 and driver domains.
  lifecycle.event_abi = event::guest_abi(config_.event_abi);
  lifecycle.backend = host_state().backend;
  lifecycle.reserve_mib = config_.reserve_mib;
  lifecycle_ = std::make_unique<Lifecycle>(
      loop_, machine_, events_, grants_, *cells_, *xenstore_, *consoles_, lifecycle,
      [this](std::string_view what, DomId domid, const std::string& name, const std::string& why) {
        if (control_) control_->publish({{"event", what}, {"domid", domid}, {"name", name}, {"why", why}});
      });
  TRY_VOID(adopt(kept));
  operations_ = std::make_unique<Operations>(*this);
  control_ = TRY(ControlServer::listen(
      loop_, config_.run_directory + "/polisd.sock",
      [this](ControlServer::ClientId client, const nlohmann::json& request) { operations_->handle(client, request); }));
  look_for_silence();
  return {};
}

// Cells first: their domains are in them.
Status Host::adopt(KeptByKey& kept) {
  std::unordered_map<uint32_t, std::array<std::optional<DomId>, machine::kVcpusPerDoorbell>> places;
  for (const DomId domid : domain::existing_domains(machine_)) {
    const domain::DomainRecord& record = domain::record_of(domid);
    if (record.cell == domain::kNoCell) continue;
    places[record.cell].at(record.cell_slot % machine::kVcpusPerDoorbell) = domid;
  }
  for (auto& [key, what] : kept) {
    if (const auto number = CellPool::number_of(key))
      TRY_VOID(cells_->adopt(*number, std::move(what), places[*number]));
  }
  lifecycle_->adopt();
  return {};
}

}  // namespace xenopolis::toolstack
