// What a virtual machine costs in KVM itself: creation and its first exits, beside which a domain's creation is put.
#include "vcpu/kvm/floor.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "common/environment.h"

int main(int argc, char** argv) {
  using namespace xenopolis;
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

  const nlohmann::json here = bench::environment();
  bench::print_environment(here);
  fmt::print("{} machines, {} a process, {} processes at a time\n\n", machines, per_process, processes);
  nlohmann::json figures = here;
  figures.update({{"machines", machines}, {"per_process", per_process}, {"processes", processes}});
  fmt::print("{:>6}  {:>12}\n", "exits", "ms a machine");
  for (uint32_t exits : {1u, 31u}) {
    const auto floor = vcpu::kvm::measure_floor(machines, per_process, processes, exits);
    if (!floor) {
      fmt::print(stderr, "floor: {}\n", floor.error().message());
      return 1;
    }
    fmt::print("{:>6}  {:>12.3f}\n", exits, *floor);
    figures[fmt::format("ms_per_machine_with_{}_exits", exits)] = *floor;
  }
  return json_file.empty() || bench::write_json(json_file, figures) ? 0 : 1;
}
