// What living on a host costs, as a user at a command line sees it: programs are started and waited for.
//
// list      `polis list` of a host with many domains that have nothing to do
// idle      CPU time of all processes of that host, over some seconds
// start     `polis --version`: what of the following is the program's own start
// create    `polis create` of one domain, beside others that sleep (quiet) or beat once a second (beating), until the
//           command has ended, and until the new domain has said in xenstore that it runs
// destroy   all of these, asked for at once, until the last one is gone
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <thread>

#include "base/event_loop.h"
#include "common/basics.h"
#include "common/command_line.h"
#include "common/environment.h"
#include "common/goals.h"
#include "common/process_usage.h"
#include "common/results.h"
#include "toolstack/control_client.h"
#include "toolstack/process.h"
#include "toolstack/xenstore_client.h"

namespace xenopolis::bench {
namespace {

using nlohmann::json;
using toolstack::ControlClient;
using toolstack::Process;
using toolstack::XenstoreClient;

struct Options {
  std::string polis = BENCH_POLIS, polisd = BENCH_POLISD, guest = BENCH_GUEST, backend = "auto", directory;
  uint32_t idle_domains = 10'000, running_domains = 3'000, commands = 20, rounds = 3;
  double idle_s = 10;
};

constexpr uint32_t kWindow = 64;

class Host {
 public:
  Host(const Options& options, const std::string& name)
      : options_(options), directory_(options.directory + "/" + name) {
    std::filesystem::create_directories(directory_);
    host_ = value_or_give_up(Process::spawn(
        options.polisd, {"--run-dir", directory_, "--backend", options.backend, "--log-level", "error"}, {}));
    control_ = value_or_give_up(ControlClient::connect(loop_, directory_ + "/polisd.sock", kPatienceMs));
    xenstore_ = value_or_give_up(XenstoreClient::connect(loop_, directory_ + "/xenstored.sock", kPatienceMs));
  }
  ~Host() {
    host_->signal(SIGTERM);
    host_->reap();
  }

  json info() { return value_or_give_up(control_->ask({{"op", "info"}})); }
  std::vector<pid_t> processes() {
    const json all = info().at("processes");
    auto pids = all.at("cells").get<std::vector<pid_t>>();
    for (const auto& [name, pid] : all.items()) {
      if (pid.is_number()) pids.push_back(pid);
    }
    return pids;
  }

  // Ends when all are up.
  void create(uint32_t count, const std::string& command_line) {
    uint32_t asked = 0, under_way = 0;
    while (asked < count || under_way > 0) {
      for (; asked < count && under_way < kWindow; ++asked, ++under_way) {
        control_->request({{"op", "create"},
                           {"name", fmt::format("d-{}", asked)},
                           {"image", options_.guest},
                           {"command_line", command_line}},
                          [&](const Result<json>& created) {
                            if (!created) give_up("{}", created.error().message());
                            domids_.push_back(created->at("domid").get<DomId>());
                            --under_way;
                          });
      }
      (void)loop_.run_once(1000);
    }
  }
  // Ends when the domain that a command has made says "running".
  void await(const std::string& name) {
    const auto domid = value_or_give_up(control_->ask({{"op", "domain"}, {"name", name}})).at("domid").get<DomId>();
    domids_.push_back(domid);
    const std::string state = fmt::format("/local/domain/{}/data/state", domid);
    for (bool runs = false, answered = false; !runs; answered = false) {
      xenstore_->read(state, [&](const Result<std::string>& value) {
        runs = value && *value == "running";
        answered = true;
      });
      while (!answered) (void)loop_.run_once(1000);
    }
  }
  void destroy_all() {
    size_t left = domids_.size();
    for (const DomId domid : domids_) {
      control_->request({{"op", "destroy"}, {"domid", domid}}, [&](const Result<json>& gone) {
        if (!gone) give_up("{}", gone.error().message());
        --left;
      });
    }
    while (left > 0) (void)loop_.run_once(1000);
    domids_.clear();
  }

  // `polis ARGUMENTS`, its output thrown away: how long it takes.
  double command_ns(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--run-dir", directory_});
    std::vector<char*> argv{const_cast<char*>(options_.polis.c_str())};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const uint64_t begin = now_ns();
    const pid_t child = vfork();
    if (child == 0) {
      const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
      dup2(null, STDOUT_FILENO);
      execv(options_.polis.c_str(), argv.data());
      _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    const uint64_t end = now_ns();
    if (status != 0) give_up("polis {} ends with {}", arguments[0], status);
    return static_cast<double>(end - begin);
  }

 private:
  const Options& options_;
  const std::string directory_;
  EventLoop loop_ = value_or_give_up(EventLoop::create());
  std::optional<Process> host_;
  std::unique_ptr<ControlClient> control_;
  std::unique_ptr<XenstoreClient> xenstore_;
  std::vector<DomId> domids_;
};

void measure_idle_host(const Options& options, uint32_t round, Results& results) {
  Host host(options, fmt::format("idle-{}", round));
  host.create(options.idle_domains, "beat_ms=3600000");
  json list_ns = json::array();
  for (uint32_t i = 0; i < options.commands; ++i) list_ns.push_back(host.command_ns({"list"}));
  sleep(3);  // what daemons put off
  const std::vector<pid_t> processes = host.processes();
  const auto cpu_ns = [&] {
    uint64_t sum = 0;
    for (const pid_t pid : processes) sum += cpu_ns_of(pid);
    return sum;
  };
  const uint64_t before = cpu_ns(), begin = now_ns();
  std::this_thread::sleep_for(std::chrono::duration<double>(options.idle_s));
  const double share = static_cast<double>(cpu_ns() - before) / static_cast<double>(now_ns() - begin);
  results.add({{"domains", options.idle_domains}, {"what", "idle"}},
              {{"list_ns", std::move(list_ns)}, {"cpu_percent_of_a_core", share * 100}});
}

// What the domains beside the new one do.
struct Neighbours {
  std::string what, command_line;
};
const Neighbours kQuiet{"quiet", "beat_ms=3600000"}, kBeating{"beating", ""};

void measure_running_host(const Options& options, uint32_t round, const Neighbours& neighbours, Results& results) {
  Host host(options, fmt::format("{}-{}", neighbours.what, round));
  host.create(options.running_domains, neighbours.command_line);
  json start_ns = json::array(), create_ns = json::array(), up_ns = json::array();
  for (uint32_t i = 0; i < options.commands; ++i) {
    start_ns.push_back(host.command_ns({"--version"}));
    const std::string name = fmt::format("one-{}", i);
    const uint64_t begin = now_ns();
    create_ns.push_back(host.command_ns({"create", "name=" + name, "kernel=" + options.guest, "memory=4"}));
    host.await(name);
    up_ns.push_back(static_cast<double>(now_ns() - begin));
  }
  const uint64_t begin = now_ns();
  host.destroy_all();
  results.add({{"domains", options.running_domains}, {"what", neighbours.what}},
              {{"start_ns", std::move(start_ns)},
               {"create_ns", std::move(create_ns)},
               {"create_to_up_ns", std::move(up_ns)},
               {"destroy_all_ns", static_cast<double>(now_ns() - begin)}});
}

json run(const Options& options) {
  json figures = environment();
  print_environment(figures);
  {
    Host host(options, "backend");
    figures["backend"] = host.info().at("backend");
  }
  fmt::print("backend {}, {} domains idle, {} running, {} rounds\n\n", figures["backend"].get<std::string>(),
             options.idle_domains, options.running_domains, options.rounds);
  Results results;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    say_progress(fmt::format("round {} of {}: idle domains", round + 1, options.rounds));
    measure_idle_host(options, round, results);
    for (const Neighbours& neighbours : {kQuiet, kBeating}) {
      say_progress(fmt::format("round {} of {}: {} domains", round + 1, options.rounds, neighbours.what));
      measure_running_host(options, round, neighbours, results);
    }
  }
  say_progress("");
  figures["points"] = results.to_json({.percentiles = {{"p50", 0.5}, {"p99", 0.99}}});
  Goals goals(results);
  const Point idle{{"domains", options.idle_domains}, {"what", "idle"}};
  goals.value(fmt::format("list of {} domains, ms", options.idle_domains), {idle, "list_ns"}, 1e6, at_most(50));
  goals.value(fmt::format("CPU of a host with {} idle domains, % of a core", options.idle_domains),
              {idle, "cpu_percent_of_a_core"}, 1, at_most(1));
  for (const Neighbours& neighbours : {kQuiet, kBeating}) {
    const Point running{{"domains", options.running_domains}, {"what", neighbours.what}};
    goals.value(fmt::format("create one beside {} {}, ms", options.running_domains, neighbours.what),
                {running, "create_ns"}, 1e6, at_most(10));
    goals.value("... and until it says that it runs, ms", {running, "create_to_up_ns"}, 1e6, at_most(10));
    goals.value(fmt::format("destroy {} {}, s", options.running_domains, neighbours.what), {running, "destroy_all_ns"},
                1e9, at_most(3));
  }
  figures["goals"] = goals.take();
  return figures;
}

}  // namespace
}  // namespace xenopolis::bench

int main(int argc, char** argv) {
  using namespace xenopolis::bench;
  CLI::App app("What living on a host costs at the command line");
  Options options;
  std::string json_file;
  bool quick = false;
  app.add_option("--json", json_file, "write every figure to this file");
  app.add_flag("--quick", quick, "one round with few domains: under 10 s");
  app.add_option("--backend", options.backend, "auto, kvm or hosted")->capture_default_str();
  auto* idle = app.add_option("--idle", options.idle_domains, "domains of the host that is listed");
  auto* running = app.add_option("--running", options.running_domains, "domains of the host in which one is created");
  auto* rounds = app.add_option("--rounds", options.rounds, "repetitions");
  auto* seconds = app.add_option("--seconds", options.idle_s, "for which the idle host is watched");
  CLI11_PARSE(app, argc, argv);
  if (quick) {
    if (!*idle) options.idle_domains = 200;
    if (!*running) options.running_domains = 100;
    if (!*rounds) options.rounds = 1;
    if (!*seconds) options.idle_s = 1;
    options.commands = 5;
  }
  return with_directory([&](const std::string& directory) {
    options.directory = directory;
    const nlohmann::json figures = run(options);
    print_goals(figures["goals"]);
    return json_file.empty() || write_json(json_file, figures) ? 0 : 1;
  });
}
