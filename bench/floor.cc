// What a virtual machine costs in KVM itself: creation and its first exits, beside which a domain's creation is put.
#include "vcpu/kvm/floor.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Wall time per bare KVM virtual machine (4 MiB, one vCPU, ring 3, OUT exits)");
  std::string json_file;
  bool quick = false;
  uint32_t machines = 3000, per_process = 64, processes = 2;
  app.add_option("--json", json_file, "write every figure to this file");
  app.add_flag("--quick", quick, "640 machines");
  app.add_option("--machines", machines);
  app.add_option("--per-process", per_process);
  app.add_option("--processes", processes, "that work at a time");
  CLI11_PARSE(app, argc, argv);
  if (quick) machines = 640;

  utsname kernel{};
  uname(&kernel);
  const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  fmt::print("kernel {}, {} CPUs ({})\n{} machines, {} a process, {} processes at a time\n\n", kernel.release, cpus,
             cpu_model(), machines, per_process, processes);
  nlohmann::json figures = {{"kernel", kernel.release},   {"cpus", cpus},
                            {"cpu_model", cpu_model()},   {"machines", machines},
                            {"per_process", per_process}, {"processes", processes}};
  fmt::print("{:>6}  {:>12}\n", "exits", "ms a machine");
  for (uint32_t exits : {1u, 31u}) {
    const auto floor = xenopolis::vcpu::kvm::measure_floor(machines, per_process, processes, exits);
    if (!floor) {
      fmt::print(stderr, "floor: {}\n", floor.error().message());
      return 1;
    }
    fmt::print("{:>6}  {:>12.3f}\n", exits, *floor);
    figures[fmt::format("ms_per_machine_with_{}_exits", exits)] = *floor;
  }
  if (!json_file.empty()) {
    std::ofstream file(json_file);
    file << figures.dump(2) << "\n";
    if (!file.good()) {
      fmt::print(stderr, "floor: cannot write {}\n", json_file);
      return 1;
    }
  }
  return 0;
}
