#include "run.h"

#include <algorithm>

#include "common/environment.h"
#include "worker.h"

namespace xenopolis::bench {
namespace {

// Where FIFO's throughput is put beside eventfd's; in a quick run nothing else is measured there.
constexpr uint32_t kComparedChannels = 10'000;
constexpr uint32_t kWakeupFew = 10;

struct Step {
  std::string_view measurement;
  nlohmann::json parameters = nlohmann::json::object();
  double duration = 1;          // in units of Options::seconds
  uint32_t least_channels = 1;  // where it makes sense
  uint32_t most_channels = ~0u;
  bool each_round = true;
};

std::vector<Step> steps() {
  const auto wakeup = [](uint32_t pending, bool scattered, bool remote) {
    return Step{.measurement = "wakeup",
                .parameters = {{"pending", pending}, {"scattered", scattered}, {"remote", remote}},
                .duration = 0.2,
                .least_channels = scattered ? 2 * pending : pending};
  };
  const auto latency = [](bool sleeping, bool round_trip, bool storm) {
    return Step{.measurement = "latency",
                .parameters = {{"sleeping", sleeping}, {"round_trip", round_trip}, {"storm", storm}}};
  };
  std::vector<Step> all;
  all.push_back({.measurement = "memory", .each_round = false});
  all.push_back({.measurement = "send", .duration = 0.5});
  for (const bool scattered : {false, true}) {
    for (const uint32_t pending : {1u, 10u, 1000u}) all.push_back(wakeup(pending, scattered, false));
  }
  all.push_back(wakeup(1000, false, true));
  all.push_back(latency(true, false, false));
  all.push_back(latency(true, true, false));
  all.push_back(latency(false, true, false));
  all.push_back(latency(true, false, true));
  all.push_back(latency(true, true, true));
  // A round through all of many channels takes long enough by itself.
  all.push_back({.measurement = "saturation", .parameters = {{"probe", "none"}}, .duration = 2, .each_round = false});
  for (const auto* probe : {"same", "urgent"}) {
    all.push_back({.measurement = "saturation",
                   .parameters = {{"probe", probe}},
                   .duration = 1,
                   .least_channels = 1'000,
                   .most_channels = 4'000});
  }
  return all;
}

Point point_of(std::string_view subject, uint32_t channels) {
  return {{"subject", subject}, {"channels", channels}};
}
Point point_of(const TransportWorker& worker) {
  return point_of(worker.subject().name, worker.channels());
}

bool is_wanted(const std::vector<std::string>& names, std::string_view name) {
  return names.empty() || std::ranges::find(names, name) != names.end();
}

class Run {
 public:
  explicit Run(const Options& options) : options_(options), subjects_(event_channel_subjects()) {
    std::ranges::move(descriptor_subjects(), std::back_inserter(subjects_));
    std::erase_if(subjects_, [&](const Subject& subject) { return !is_wanted(options_.subjects, subject.name); });
    for (const Subject& subject : subjects_) {
      for (const uint32_t channels : options_.channels) {
        if (channels <= subject.max_channels) workers_.emplace_back(subject, channels, cpus_);
      }
    }
  }

  nlohmann::json measure() {
    const nlohmann::json here = environment();
    for (uint32_t round = 0; round < options_.rounds; ++round) {
      say_progress(fmt::format("round {} of {}", round + 1, options_.rounds));
      for (const Step& step : steps()) {
        if ((round == 0 || step.each_round) && is_wanted(options_.measurements, step.measurement)) take(step);
      }
      if (is_wanted(options_.measurements, "throughput")) throughput();
      if (is_wanted(options_.measurements, "wakeup")) wakeup_against_few();
    }
    say_progress("");
    nlohmann::json figures = {{"environment", here},
                              {"rounds", options_.rounds},
                              {"seconds_per_measurement", options_.seconds},
                              {"points", points()},
                              {"ratios", ratios()}};
    if (!limits_.empty()) {
      figures["machine_limit_passes_per_s"] = percentile(limits_, 0.5);
      figures["machine_limit_least_passes_per_s"] = *std::ranges::min_element(limits_);
      figures["machine_limit_most_passes_per_s"] = *std::ranges::max_element(limits_);
    }
    for (const Subject& subject : subjects_) {
      figures["subjects"].push_back({{"name", subject.name},
                                     {"description", subject.description},
                                     {"most_channels", subject.max_channels},
                                     {"ends_with", subject.end}});
    }
    return figures;
  }

 private:
  void take(const Step& step) {
    for (TransportWorker& worker : workers_) {
      if (worker.channels() < step.least_channels || worker.channels() > step.most_channels) continue;
      if (options_.quick && worker.channels() == kComparedChannels && step.measurement != "memory") continue;
      results_.add(point_of(worker), worker.run(step.measurement, options_.seconds * step.duration, step.parameters));
    }
  }

  // The machine's limit is measured in between, close to everything that is compared with it.
  void throughput() {
    const Subject* last = nullptr;
    for (TransportWorker& worker : workers_) {
      if (&worker.subject() != last) limits_.push_back(passes_per_second(cpus_, options_.seconds));
      last = &worker.subject();
      for (const bool sleeping : {true, false}) {
        Figures figures = worker.run("throughput", options_.seconds, {{"sleeping", sleeping}});
        if (sleeping) figures["limit_over_throughput_ratio"] = limits_.back() / figures.front().get<double>();
        results_.add(point_of(worker), figures);
      }
    }
  }

  // Event channels only: with the most channels and with ten, by turns, with the same events pending.
  void wakeup_against_few() {
    constexpr unsigned kTurns = 10;
    for (TransportWorker& few : workers_) {
      if (few.channels() != kWakeupFew) continue;
      TransportWorker& many = *std::ranges::max_element(workers_, {}, [&](const TransportWorker& worker) {
        return &worker.subject() == &few.subject() ? worker.channels() : 0;
      });
      for (unsigned turn = 0; turn < kTurns; ++turn) {
        for (const uint32_t pending : {1u, 10u}) {
          const nlohmann::json warm = {{"pending", pending}, {"scattered", false}, {"remote", false}};
          const nlohmann::json cold = {{"pending", pending}, {"scattered", true}, {"remote", false}};
          const double seconds = options_.seconds * 0.05;
          compared_.add(point_of(few), few.run("wakeup", seconds, warm));
          compared_.add(point_of(many), many.run("wakeup", seconds, warm));
          compared_.add(point_of(many), many.run("wakeup", seconds, cold));
        }
      }
    }
  }

  nlohmann::json points() const {
    nlohmann::json all = results_.to_json({.percentiles = {{"p50", 0.5}, {"p99", 0.99}, {"p99_9", 0.999}},
                                           .least_rounds_for_spread = 2,
                                           .spread_of_samples = false});
    for (auto& point : all) {
      for (const auto* percentile : {"p50", "p99"}) {
        const auto first = point.find(fmt::format("saturated_first_ports_{}_ns", percentile));
        const auto last = point.find(fmt::format("saturated_last_ports_{}_ns", percentile));
        if (first == point.end() || last == point.end()) continue;
        const double ratio = last->get<double>() / first->get<double>();
        point[fmt::format("saturated_last_over_first_{}_ratio", percentile)] = ratio;
      }
    }
    return all;
  }

  nlohmann::json ratios() const {
    auto all = nlohmann::json::object();
    const auto put = [&](const std::string& name, const std::optional<nlohmann::json>& ratio) {
      if (ratio) all[name] = ratio->at("median");
    };
    for (const auto* peer : {"eventfd", "eventfd-et"}) {
      put(fmt::format("fifo_over_{}_throughput_at_{}_channels", peer, kComparedChannels),
          results_.ratio({point_of("fifo", kComparedChannels), "throughput_events_per_s"},
                         {point_of(peer, kComparedChannels), "throughput_events_per_s"}));
    }
    for (const TransportWorker& worker : workers_) {
      if (worker.channels() == kWakeupFew) continue;
      for (const uint32_t pending : {1u, 10u}) {
        const std::string few = fmt::format("wakeup_{}_pending_ns", pending);
        for (const std::string& many : {few, fmt::format("wakeup_{}_pending_scattered_ns", pending)}) {
          put(fmt::format("{}_{}_at_{}_over_{}_channels", worker.subject().name, many.substr(0, many.size() - 3),
                          worker.channels(), kWakeupFew),
              compared_.ratio({point_of(worker), many}, {point_of(worker.subject().name, kWakeupFew), few}));
        }
      }
    }
    return all;
  }

  const Options options_;
  const Cpus cpus_ = choose_cpus();
  std::vector<Subject> subjects_;
  std::vector<TransportWorker> workers_;
  Results results_;
  Results compared_;  // the wakeups of wakeup_against_few() alone
  std::vector<double> limits_;
};

}  // namespace

nlohmann::json run(const Options& options) {
  return Run(options).measure();
}

}  // namespace xenopolis::bench
