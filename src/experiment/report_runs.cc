#include "experiment/report_runs.h"

#include <algorithm>

#include "experiment/report_text.h"

namespace xenopolis::experiment {

std::string abi_name(std::string_view event_abi) {
  return event_abi == "fifo" ? "FIFO"
         : event_abi == "3l" ? "3-level"
         : event_abi == "2l" ? "2-level"
                             : std::string(event_abi);
}

std::vector<const RunRecord*> runs_of(const SweepRecord& sweep, std::string_view event_abi) {
  std::vector<const RunRecord*> runs;
  for (const RunRecord& run : sweep.runs) {
    if (run.event_abi == event_abi && run.up > 0) runs.push_back(&run);
  }
  std::stable_sort(runs.begin(), runs.end(), [](const RunRecord* a, const RunRecord* b) { return a->up < b->up; });
  return runs;
}

const RunRecord* largest_run(const SweepRecord& sweep) {
  const RunRecord* largest = nullptr;
  for (const std::string_view abi : kReportAbis) {
    const auto runs = runs_of(sweep, abi);
    if (!runs.empty() && (largest == nullptr || runs.back()->up > largest->up)) largest = runs.back();
  }
  return largest;
}

std::string what_domains_do_meanwhile(const SweepRecord& sweep) {
  const RunRecord& run = *largest_run(sweep);
  if (run.beats == 0 || run.steady_s <= 0) return "";
  const double beats_a_second = static_cast<double>(run.beats) / run.steady_s;
  const double each = beats_a_second / run.up;
  std::string text =
      fmt::format("Each domain beats {} meanwhile",
                  each > 0.95 && each < 1.05 ? "once a second" : fmt::format("{} times a second", three_digits(each)));
  double cpus = 0;
  for (const auto& [program, load] : run.steady_load) cpus += load.cpu_s / run.steady_s;
  if (cpus > 0) {
    text += fmt::format(", which takes {} of {} in the end", three_digits(cpus),
                        counted(static_cast<double>(sweep.machine.cpus), "CPU", "CPUs"));
  }
  const bool has_peers =
      std::any_of(sweep.peers.begin(), sweep.peers.end(), [](const PeerRecord& peer) { return peer.started > 0; });
  return text + (has_peers ? "; the peers (violet) only sleep." : ".");
}

}  // namespace xenopolis::experiment
