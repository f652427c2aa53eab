#include "run.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/environment.h"
#include "scenes.h"

namespace xenopolis::bench {
namespace {

constexpr std::string_view kMeasurements[] = {"memory", "wakeup", "throughput", "latency"};
const std::string kHosted = "hosted";

bool is_wanted(const Options& options, std::string_view name) {
  return options.measurements.empty() || std::ranges::find(options.measurements, name) != options.measurements.end();
}

void take_consoles(Rounds& rounds, const Options& options) {
  std::vector<std::string_view> measurements;
  std::ranges::copy_if(kMeasurements, std::back_inserter(measurements),
                       [&](std::string_view name) { return is_wanted(options, name); });
  if (measurements.empty()) return;
  unsigned directories = 0;
  SceneSet set{"consoles", measurements, {}};
  // Ptys are few, and not ours alone: the models that are there at the same time must do with them.
  SceneSet large_models = set;
  for (const ConsoleKind& kind : options.daemons) {
    uint64_t taken = 0;
    for (const uint32_t consoles : options.consoles) {
      if (consoles > kind.most_consoles) {
        rounds.leave_out(fmt::format("{} ends at {} consoles ({})", kind.name, kind.most_consoles, kind.end));
        continue;
      }
      taken += consoles;
      const std::string directory = fmt::format("{}/{}", options.directory, ++directories);
      (taken <= kind.most_consoles ? set : large_models)
          .entries.push_back({kind.name, consoles, [&kind, &options, consoles, directory] {
                                return make_consoles_scene(kind, consoles, options.rest_s, directory);
                              }});
      if (taken > kind.most_consoles) taken -= consoles;
    }
  }
  rounds.take(set);
  if (!large_models.entries.empty()) rounds.take(large_models);
}

void take_hosted(Rounds& rounds, const Options& options) {
  SceneSet set{kHosted, {"hosted_throughput", "hosted_latency"}, {}};
  for (const uint32_t domains : options.domains) {
    set.entries.push_back({kHosted, domains, [&options, domains] {
                             return make_hosted_scene(options.polisd, options.image, domains,
                                                      fmt::format("{}/hosted-{}", options.directory, domains));
                           }});
  }
  rounds.take(set);
}

}  // namespace

nlohmann::json run(const Options& options) {
  const nlohmann::json here = environment();
  Rounds rounds(options.rounds);
  take_consoles(rounds, options);
  if (is_wanted(options, kHosted)) take_hosted(rounds, options);
  nlohmann::json figures = rounds.to_json(here);
  figures["figures"] = goals(rounds.results(), options);
  for (const ConsoleKind& kind : options.daemons) {
    figures["daemons"].push_back({{"name", kind.name}, {"description", kind.description}});
  }
  if (is_wanted(options, kHosted)) {
    figures["daemons"].push_back(
        {{"name", kHosted}, {"description", "polisd with domains of the hosted backend, and its polis-consoled"}});
  }
  return figures;
}

}  // namespace xenopolis::bench
