// Real domains, which the hosted backend runs, on a host of their own.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <random>

#include "common/basics.h"
#include "domain/domain_record.h"
#include "log_check.h"
#include "machine/domain_memory.h"
#include "probe.h"
#include "ring_writer.h"
#include "scenes.h"
#include "session_reader.h"
#include "toolstack/control_client.h"
#include "toolstack/process.h"

namespace xenopolis::bench {
namespace {

constexpr uint32_t kCreationsInFlight = 8;
constexpr uint64_t kMemoryMib = 4;
// Domains that write at the same time: a cell's, or two.
constexpr uint32_t kMostPouring = 64;
// Bytes of all of them for each second that is asked for, since they are told an amount and not a time.
constexpr double kBytesPerSecond = 1e9;
constexpr uint64_t kLeastGapNs = 1'000'000, kMostGapNs = 3'000'000;

class HostedScene final : public Scene {
 public:
  HostedScene(const std::string& polisd, const std::string& image, uint32_t domains, const std::string& directory)
      : image_(image), directory_(directory), loop_(value_or_give_up(EventLoop::create())) {
    std::filesystem::create_directories(directory);
    polisd_.emplace(value_or_give_up(toolstack::Process::spawn(
        polisd, {"--run-dir", directory_, "--backend", "hosted", "--log-level", "error", "--die-with-parent"}, {})));
    control_ = value_or_give_up(toolstack::ControlClient::connect(loop_, directory_ + "/polisd.sock", kPatienceMs));
    machine_.emplace(value_or_give_up(control_->attach_machine()));
    const nlohmann::json info = value_or_give_up(control_->ask({{"op", "info"}}));
    consoled_ = info.at("processes").at("polis-consoled").get<pid_t>();
    create(domains);
    for (uint32_t domain = 0; domain < kProbed; ++domain) {
      talkers_.push_back(std::make_unique<SessionReader>(socket_path(), name_of(domain), /*writes=*/true));
    }
    // All are up when the first ones, and the last one, answer.
    SessionReader last(socket_path(), name_of(domains - 1), /*writes=*/true);
    guest_time(last);
    for (const auto& talker : talkers_) guest_time(*talker);
  }
  Figures measure(std::string_view measurement, double seconds) override {
    Figures figures;
    if (measurement == "hosted_throughput") {
      pour(figures, "one", 1, seconds);
      pour(figures, "all", std::min(static_cast<uint32_t>(domids_.size() - kProbed), kMostPouring), seconds);
    } else {
      figures["latency_ns"] = latency(seconds * 5);
    }
    return figures;
  }

 private:
  static std::string name_of(uint32_t domain) { return fmt::format("load-{}", domain); }
  std::string socket_path() const { return directory_ + "/console.sock"; }

  void create(uint32_t domains) {
    domids_.resize(domains);
    uint32_t sent = 0, created = 0;
    while (created < domains) {
      for (; sent < domains && sent < created + kCreationsInFlight; ++sent) {
        control_->request({{"op", "create"},
                           {"name", name_of(sent)},
                           {"memory_mib", kMemoryMib},
                           {"image", image_},
                           {"command_line", fmt::format("shift={}", sent)}},
                          [this, domain = sent, &created](const Result<nlohmann::json>& answer) {
                            if (!answer) give_up("creating domain {}: {}", domain, answer.error().message());
                            domids_[domain] = answer->at("domid").get<DomId>();
                            ++created;
                          });
      }
      if (const Status turned = loop_.run_once(kPatienceMs); !turned) give_up("{}", turned.error().message());
    }
  }

  // The time at which a guest has written its answer.
  static uint64_t guest_time(SessionReader& talker) {
    talker.say("t\n");
    return time_in(talker);
  }
  static uint64_t time_in(SessionReader& talker) {
    std::string line;
    while (line.empty() || line.back() != '\n') line += talker.wait();
    require(line.starts_with("T "), "a guest answers what it is asked");
    return std::stoull(line.substr(2));
  }

  // Connects, speaks and hangs up, so that nobody reads what the guest says.
  void tell(uint32_t domain, const std::string& line) const {
    SessionReader(socket_path(), name_of(domain), /*writes=*/true).say_last(line);
  }

  xencons_interface& ring(uint32_t domain) const {
    const DomId domid = domids_[domain];
    uint8_t* page = machine::memory_of(domid).page(domain::record_of(domid).console_gfn);
    return *reinterpret_cast<xencons_interface*>(page);
  }

  // The last domains, which nobody reads. Their logs must have it all, byte by byte.
  void pour(Figures& figures, const std::string& name, uint32_t guests, double seconds) {
    const auto domains = static_cast<uint32_t>(domids_.size());
    const uint32_t first = domains - guests;
    // One guest alone waits for each of its answers.
    const double share = guests == 1 ? 0.1 : 1.0 / guests;
    const auto each = static_cast<uint32_t>(std::min(1e9, kBytesPerSecond * seconds * share));
    LogCheck logs;
    std::vector<XENCONS_RING_IDX> ends;
    for (uint32_t domain = first; domain < domains; ++domain) {
      logs.add(domain, fmt::format("{}/console/{}.log", directory_, name_of(domain)));
    }
    logs.wait_until_quiet();
    for (uint32_t domain = first; domain < domains; ++domain) ends.push_back(ring(domain).out_cons + each);
    // They all begin when the first one does, but for the time in which they are told.
    const uint64_t cpu_before = cpu_ns_of(consoled_), begin = now_ns();
    for (uint32_t domain = first; domain < domains; ++domain) tell(domain, fmt::format("w {}\n", each));
    const uint64_t give_up_at = begin + uint64_t{kPatienceMs} * 1'000'000;
    for (uint32_t guest = 0; guest < guests;) {
      if (std::atomic_ref(ring(first + guest).out_cons).load() == ends[guest]) {
        ++guest;
        continue;
      }
      if (now_ns() > give_up_at) give_up("domain {} does not come to its end", first + guest);
      const timespec pause{0, 500'000};
      nanosleep(&pause, nullptr);
    }
    const auto took_ns = static_cast<double>(now_ns() - begin);
    figures[name + "_bytes_per_s"] = static_cast<double>(each) * guests * 1e9 / took_ns;
    figures[name + "_kib_daemon_cpu_ns"] =
        static_cast<double>(cpu_ns_of(consoled_) - cpu_before) / (static_cast<double>(each) * guests / 1024);
    const LogCheck::Lost lost = logs.lost(std::vector<uint64_t>(guests, each));
    figures[name + "_lost_bytes"] = lost.bytes;
    figures[name + "_unmarked_lost_bytes"] = lost.unmarked_bytes;
  }

  // From the time that the guest writes until the reader has it.
  std::vector<uint64_t> latency(double seconds) {
    const auto domains = static_cast<uint32_t>(domids_.size());
    for (uint32_t domain = domains - kBusy; domain < domains; ++domain) tell(domain, "b\n");
    std::vector<uint64_t> samples;
    std::mt19937 random;
    const uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    for (size_t talker = 0; now_ns() < end || samples.empty(); talker = (talker + 1) % talkers_.size()) {
      const uint64_t wrote_ns = guest_time(*talkers_[talker]);
      const uint64_t now = now_ns();
      // The guest's clock is the host's, but for what its TSC's frequency is wrong by.
      samples.push_back(now > wrote_ns ? now - wrote_ns : 0);
      const timespec gap{0, static_cast<long>(kLeastGapNs + random() % (kMostGapNs - kLeastGapNs))};
      nanosleep(&gap, nullptr);
    }
    for (uint32_t domain = domains - kBusy; domain < domains; ++domain) tell(domain, "s\n");
    return samples;
  }

  const std::string image_, directory_;
  pid_t consoled_ = 0;
  EventLoop loop_;
  std::optional<toolstack::Process> polisd_;
  std::unique_ptr<toolstack::ControlClient> control_;
  std::optional<machine::Machine> machine_;
  std::vector<DomId> domids_;
  std::vector<std::unique_ptr<SessionReader>> talkers_;
};

}  // namespace

std::unique_ptr<Scene> make_hosted_scene(const std::string& polisd, const std::string& image, uint32_t domains,
                                         const std::string& directory) {
  return std::make_unique<HostedScene>(polisd, image, domains, directory);
}

}  // namespace xenopolis::bench
