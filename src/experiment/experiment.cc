#include "experiment/experiment.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "base/clock.h"
#include "builder/image.h"
#include "experiment/fleet.h"
#include "experiment/interruption.h"
#include "experiment/private_host.h"
#include "experiment/progress.h"
#include "experiment/steady_state.h"
#include "toolstack/host_memory.h"
#include "toolstack/process.h"
#include "vcpu/kvm/floor.h"

namespace xenopolis::experiment {
namespace {

constexpr uint64_t kShutdownPatienceNs = 60'000'000'000;
constexpr uint32_t kFloorProcesses = 2;
constexpr uint32_t kFloorExits = 31;

uint64_t now_ns() {
  return MonotonicClock().now_ns();
}
double seconds_since(uint64_t start_ns) {
  return static_cast<double>(now_ns() - start_ns) / 1e9;
}

int64_t available_kib() {
  const auto memory = toolstack::host_memory();
  return memory ? static_cast<int64_t>(memory->available_kib) : 0;
}

// The guest and how it is seen to be up.
struct Guest {
  std::string image;
  bool citizens;
  std::string console_text;
};

Result<Guest> choose_guest(const Options& options) {
  if (options.guest.empty()) {
    return Guest{toolstack::program_directory() + "/../guest/citizen", true, " up"};
  }
  std::error_code error;
  const std::string path = std::filesystem::absolute(options.guest, error);
  // Refused here rather than once per domain.
  const builder::Image image = TRY(builder::load_image(path));
  if (!options.expect.empty()) return Guest{path, false, options.expect};
  if (image.guest_os == "GRUB") return Guest{path, false, "grub>"};
  return fail(EINVAL, fmt::format("{}: say with --expect TEXT what it writes to its console when it is up", path));
}

// Until every domain is up or has failed.
Status wait_for_all_up(EventLoop& loop, Fleet& fleet, const Options& options, const Interruption& interruption) {
  Progress progress("domains up", options.domains, options.quiet);
  uint32_t settled = 0;
  uint64_t last_change_ns = now_ns();
  while (!fleet.settled() && !interruption.happened()) {
    TRY_VOID(loop.run_once(100));
    progress.update(fleet.up());
    if (fleet.settled_count() != settled) {
      settled = fleet.settled_count();
      last_change_ns = now_ns();
    } else if (seconds_since(last_change_ns) > options.up_timeout_s) {
      fleet.give_up(fmt::format("not up after {:.0f} s", options.up_timeout_s));
    }
  }
  return {};
}

Status shut_down_all(EventLoop& loop, Fleet& fleet, const Options& options) {
  Progress progress("shut down", fleet.created(), options.quiet);
  const uint64_t start_ns = now_ns();
  fleet.begin_shutdown();
  while (fleet.ended() < fleet.created() && now_ns() - start_ns < kShutdownPatienceNs) {
    TRY_VOID(loop.run_once(100));
    progress.update(fleet.ended());
  }
  return {};
}

void measure_floor_into(const Options& options, Results& results) {
  if (options.floor_vms == 0) {
    results.floor_note = "not measured";
    return;
  }
  if (results.backend != "kvm") {
    results.floor_note = "none: the floor is a bare KVM VM";
    return;
  }
  const auto floor = vcpu::kvm::measure_floor(std::min(options.domains, options.floor_vms), options.domains_per_cell,
                                              kFloorProcesses, kFloorExits);
  if (floor) {
    results.floor_ms_per_vm = *floor;
  } else {
    results.floor_note = floor.error().message();
  }
}

Status keep_logs(const PrivateHost& host, const Options& options) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::path(options.output) / "console";
  std::filesystem::remove_all(target, error);
  std::filesystem::create_directories(options.output, error);
  std::filesystem::copy(host.console_directory(), target, error);
  if (error) return fail(error.value(), "copying the console logs to " + target.string());
  return {};
}

// Nothing when the host does not answer: it has ended, which is told elsewhere.
HostLoad load_of(PrivateHost& host, bool with_memory) {
  const auto pids = host.processes();
  return pids ? host_load(*pids, with_memory) : HostLoad();
}

uint32_t count_living(const std::vector<pid_t>& pids) {
  uint32_t living = 0;
  for (const pid_t pid : pids) living += kill(pid, 0) == 0 ? 1 : 0;
  return living;
}

}  // namespace

Result<Results> run(const Options& wanted) {
  Options options = wanted;
  if (options.domains == 0 || options.domains >= kDomIdCount) {
    return fail(EINVAL,
                fmt::format("{} domains: Xen has domain numbers for 1 to {}", options.domains, kDomIdCount - 1));
  }
  const Guest guest = TRY(choose_guest(options));
  if (options.memory_mib == 0) options.memory_mib = guest.citizens ? kCitizenMemoryMib : kOtherGuestMemoryMib;
  EventLoop loop = TRY(EventLoop::create());
  const std::unique_ptr<Interruption> interruption = TRY(Interruption::watch(loop));
  Results results;
  results.options = options;
  results.options.guest = guest.image;
  results.citizens = guest.citizens;

  const int64_t memory_before = available_kib();
  std::unique_ptr<PrivateHost> host = TRY(PrivateHost::start(loop, options));
  results.backend = host->backend();
  results.backend_why = host->backend_why();
  if (!options.quiet) {
    fmt::print(stderr, "backend: {} ({})\nhost: {} (`polis consoles --tail --run-dir {}` follows its consoles)\n",
               results.backend, results.backend_why, host->directory(), host->directory());
  }
  measure_floor_into(options, results);
  bool host_is_gone = false;
  host->control().on_disconnect([&] { host_is_gone = true; });

  const HostLoad load_at_start = load_of(*host, false);
  const ServiceTraffic traffic_at_start = service_traffic();
  std::unique_ptr<Fleet> fleet =
      TRY(Fleet::start(loop, *host, options, guest.image, guest.citizens, guest.console_text, results));
  TRY_VOID(wait_for_all_up(loop, *fleet, options, *interruption));
  results.domains_created = fleet->created();
  results.domains_up = fleet->up();
  results.wall_s_to_all_up = static_cast<double>(fleet->last_up_ns() - fleet->first_request_ns()) / 1e9;
  const HostLoad load_all_up = host_is_gone ? HostLoad() : load_of(*host, false);
  results.creation_load = load_between(load_at_start, load_all_up);
  const ServiceTraffic traffic_all_up = service_traffic();
  results.creation_traffic = traffic_between(traffic_at_start, traffic_all_up);
  if (fleet->up() > 0) {
    results.memory_kib_per_domain = static_cast<double>(memory_before - available_kib()) / fleet->up();
    const auto stop_early = [&] { return interruption->happened() || host_is_gone; };
    if (!stop_early()) TRY_VOID(run_steady_state(loop, *host, *fleet, options, stop_early, results));
  }
  if (!host_is_gone) results.steady_load = load_between(load_all_up, load_of(*host, true));
  results.steady_traffic = traffic_between(traffic_all_up, service_traffic());
  results.domains_alive_at_end = fleet->alive();
  results.interrupted = interruption->happened();

  const uint64_t shutdown_ns = now_ns();
  const auto processes = host_is_gone ? Result<std::vector<pid_t>>() : host->processes();
  if (!host_is_gone && !results.interrupted) TRY_VOID(shut_down_all(loop, *fleet, options));
  results.shutdown_s = seconds_since(shutdown_ns);
  const uint64_t teardown_ns = now_ns();
  if (options.keep_logs) {
    if (const Status kept = keep_logs(*host, options); !kept) results.problems.push_back(kept.error().message());
  }
  fleet.reset();
  host->stop();
  host.reset();
  results.teardown_s = seconds_since(teardown_ns);
  if (processes) results.processes_left = count_living(*processes);
  results.memory_kib_not_returned = memory_before - available_kib();
  return results;
}

}  // namespace xenopolis::experiment
