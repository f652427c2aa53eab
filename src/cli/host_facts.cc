#include "cli/host_facts.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>

#include "cli/times.h"

namespace xenopolis::cli {
namespace {

using nlohmann::json;

constexpr const char* kDom0Processes[] = {"polis-keeper", "polisd", "polis-xenstored", "polis-consoled"};

// Of all its threads, from /proc/PID/stat; 0 when it has ended.
uint64_t cpu_time_ns(pid_t pid) {
  FILE* stat = fopen(fmt::format("/proc/{}/stat", pid).c_str(), "re");
  if (stat == nullptr) return 0;
  unsigned long user = 0, system = 0;
  // The program's name has no spaces: it is one of ours.
  const int fields = fscanf(stat, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  fclose(stat);
  if (fields != 2) return 0;
  return (user + system) * 1'000'000'000 / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
}

uint32_t online_cpus() {
  return static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

Result<ListedDomain> describe_dom0(HostClient& client) {
  const json info = TRY(client.ask({{"op", "info"}}));
  ListedDomain dom0;
  dom0.name = "Domain-0";
  dom0.state = domain::State::kRunning;
  dom0.stage = domain::Stage::kUp;
  dom0.runstate = RUNSTATE_running;
  dom0.memory_kib = info.value("memory_total_kib", uint64_t{0});
  dom0.vcpus = online_cpus();
  dom0.started_s = info.value("started_s", int64_t{0});
  const json processes = info.value("processes", json::object());
  for (const char* name : kDom0Processes) {
    if (processes.contains(name)) dom0.cpu_time_ns += cpu_time_ns(processes[name].get<pid_t>());
  }
  return dom0;
}

Result<std::vector<Fact>> host_facts(HostClient& client) {
  const json info = TRY(client.ask({{"op", "info"}}));
  std::vector<Fact> facts;
  const auto add = [&](const char* name, auto value) { facts.push_back({name, fmt::format("{}", value)}); };
  utsname system{};
  if (uname(&system) == 0) {
    add("host", system.nodename);
    add("release", system.release);
    add("version", system.version);
    add("machine", system.machine);
  }
  add("nr_cpus", online_cpus());
  add("total_memory", info.value("memory_total_kib", uint64_t{0}) / 1024);
  add("free_memory", info.value("memory_available_kib", uint64_t{0}) / 1024);
  add("xen_caps", "xen-3.0-x86_64");
  add("xen_pagesize", kPageSize);
  add("polis_version", info.value("version", "unknown"));
  add("backend", info.value("backend", ""));
  add("backend_why", info.value("backend_why", ""));
  add("event_abi", info.value("event_abi", ""));
  add("run_directory", info.value("run_dir", client.directory()));
  add("uptime", uptime_text(time(nullptr) - info.value("started_s", int64_t{time(nullptr)})));
  add("nr_domains", info.value("domains", uint64_t{0}));
  const json processes = info.value("processes", json::object());
  add("nr_cells", processes.value("cells", json::array()).size());
  add("domains_memory", info.value("machine_bytes", uint64_t{0}) / (1024 * 1024));
  return facts;
}

}  // namespace xenopolis::cli
