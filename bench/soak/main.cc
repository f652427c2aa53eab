// A soak: a host to which everything happens for a while, in rounds. After each, all its books agree (polis doctor),
// and again when all domains are destroyed. In the last third nobody kills daemons: these must not have grown by the
// end.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/clock.h"
#include "chaos.h"
#include "common/command_line.h"
#include "common/environment.h"

namespace xenopolis::bench {
namespace {

using nlohmann::json;

constexpr double kRounds = 12;
constexpr double kShortestRound = 1.5, kLongestRound = 15;
// What a daemon may need more after some rounds: its heap has holes, and everything is done for the first time once.
constexpr uint64_t kGrowthKib = 4096;
constexpr double kGrowth = 1.25;
constexpr uint64_t kGrowthDescriptors = 4;

struct Options {
  std::string polisd = SOAK_POLISD, directory, backend = "hosted", json_file;
  ChaosOptions chaos{.guests = SOAK_GUESTS};
  double seconds = 600;
};

// What must not grow: of each daemon, and of the machine without domains.
using Sizes = std::map<std::string, uint64_t>;

Sizes sizes_of(const cli::Diagnosis& diagnosis) {
  Sizes sizes;
  for (const json& process : diagnosis.processes) {
    const std::string name = process.at("name");
    if (name == "polis-cell") continue;
    sizes[name + "_own_kib"] = process.value("rss_anon_kib", uint64_t{0});
    sizes[name + "_descriptors"] = process.value("descriptors", uint64_t{0});
  }
  const json& counts = diagnosis.counts;
  sizes["machine_chunks"] = counts.at("chunks").get<uint64_t>() - counts.at("free_chunks").get<uint64_t>();
  sizes["machine_pages"] = counts.at("pages").get<uint64_t>() - counts.at("free_pages").get<uint64_t>();
  return sizes;
}

bool has_grown(const std::string& what, uint64_t from, uint64_t to) {
  if (what.ends_with("_descriptors")) return to > from + kGrowthDescriptors;
  if (what.ends_with("_own_kib")) return to > static_cast<uint64_t>(static_cast<double>(from) * kGrowth) + kGrowthKib;
  return to > from;
}

class Soak {
 public:
  Soak(SoakHost& host, const Options& options) : host_(host), options_(options), chaos_(host, options.chaos) {}

  Result<json> run() {
    const double round_s = std::clamp(options_.seconds / kRounds, kShortestRound, kLongestRound);
    const MonotonicClock clock;
    const uint64_t start_ns = clock.now_ns();
    const auto elapsed_s = [&] { return static_cast<double>(clock.now_ns() - start_ns) * 1e-9; };
    std::optional<Sizes> first;
    Sizes last;
    unsigned rounds = 0;
    while (elapsed_s() < options_.seconds || !first) {
      // What was killed has begun anew, and counts from then on.
      const bool kills_daemons = elapsed_s() < options_.seconds * 2 / 3;
      say_progress(fmt::format("round {}, {:.0f} of {:.0f} s, {} disagreements", rounds + 1, elapsed_s(),
                               options_.seconds, disagreements_.size()));
      TRY_VOID(chaos_.run(round_s, kills_daemons));
      TRY(examine("after a round"));
      TRY_VOID(chaos_.clear());
      last = sizes_of(TRY(examine("without domains")));
      if (!kills_daemons && !first) first = last;
      ++rounds;
    }
    say_progress("");
    json growth = json::array();
    for (const auto& [what, size] : last) {
      if (has_grown(what, first->at(what), size)) {
        growth.push_back(fmt::format("{}: from {} to {}", what, first->at(what), size));
      }
    }
    return json{{"seconds", elapsed_s()},          {"rounds", rounds},
                {"done", chaos_.done()},           {"surprises", chaos_.surprises()},
                {"disagreements", disagreements_}, {"growth", growth},
                {"first_sizes", *first},           {"last_sizes", last}};
  }

 private:
  Result<cli::Diagnosis> examine(const std::string& when) {
    cli::Diagnosis diagnosis = TRY(cli::examine(host_.client()));
    for (const cli::Disagreement& found : diagnosis.disagreements) {
      disagreements_.push_back(fmt::format("{}: {} {} {}: {}", when, found.area, found.domid, found.name, found.text));
    }
    return diagnosis;
  }

  SoakHost& host_;
  const Options& options_;
  Chaos chaos_;
  std::vector<std::string> disagreements_;
};

bool is_good(const json& results) {
  return results.at("surprises").empty() && results.at("disagreements").empty() && results.at("growth").empty();
}

void print(const json& results, const Options& options) {
  print_environment(results.at("environment"));
  fmt::print("{} rounds in {:.0f} s, about {} domains, backend {}, seed {}\n\n", results.at("rounds").get<unsigned>(),
             results.at("seconds").get<double>(), options.chaos.domains, options.backend, options.chaos.seed);
  for (const auto& [what, count] : results.at("done").items()) {
    fmt::print("  {:<24} {:>8}\n", what, count.get<uint64_t>());
  }
  fmt::print("\n  {:<28} {:>10} {:>10}\n", "without domains, no kills", "first", "last");
  for (const auto& [what, size] : results.at("last_sizes").items()) {
    fmt::print("  {:<28} {:>10} {:>10}\n", what, results.at("first_sizes").at(what).get<uint64_t>(),
               size.get<uint64_t>());
  }
  for (const auto& [text, count] : results.at("surprises").items()) {
    fmt::print("surprise, {} times: {}\n", count.get<uint64_t>(), text);
  }
  for (const json& text : results.at("disagreements")) fmt::print("disagreement {}\n", text.get<std::string>());
  for (const json& text : results.at("growth")) fmt::print("growth of {}\n", text.get<std::string>());
  fmt::print("\n{}\n", is_good(results) ? "Good: everything agreed after each round, and nothing grew." : "Not good.");
}

int soak(const Options& options) {
  const auto host = SoakHost::start(options.polisd, options.directory, options.backend);
  if (!host) {
    fmt::print(stderr, "soak: {}\n", host.error().message());
    return 1;
  }
  auto results = Soak(**host, options).run();
  if (!results) {
    for (const std::string& line : (*host)->last_messages()) fmt::print(stderr, "{}\n", line);
    fmt::print(stderr, "soak: {}\n", results.error().message());
    return 1;
  }
  (*results)["environment"] = environment();
  print(*results, options);
  if (!options.json_file.empty() && !write_json(options.json_file, *results)) return 1;
  return is_good(*results) ? 0 : 1;
}

}  // namespace
}  // namespace xenopolis::bench

int main(int argc, char** argv) {
  using namespace xenopolis::bench;
  Options options;
  CLI::App app("A host to which everything happens: domains come, go and storm, processes are killed");
  bool quick = false;
  auto* seconds = app.add_option("--seconds", options.seconds, "how long")->capture_default_str();
  app.add_flag("--quick", quick, "20 seconds")->excludes(seconds);
  app.add_option("--domains", options.chaos.domains, "about so many at a time")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--window", options.chaos.window, "requests under way")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seed", options.chaos.seed, "of the random choices")->capture_default_str();
  app.add_option("--backend", options.backend, "hosted, kvm or auto")->capture_default_str();
  app.add_option("--guests", options.chaos.guests, "directory of the guests' images")->capture_default_str();
  app.add_option("--polisd", options.polisd, "the program that is tried")->capture_default_str();
  app.add_option("--json", options.json_file, "file for the figures")->type_name("FILE");
  CLI11_PARSE(app, argc, argv);
  if (quick) options.seconds = 20;
  return with_directory([&](const std::string& directory) {
    options.directory = directory;
    return soak(options);
  });
}
