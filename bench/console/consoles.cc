// Consoles of guests that are this process: what a wakeup costs, how much goes through, how soon a reader has it, and
// what those take who say nothing.
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <random>

#include "common/basics.h"
#include "common/placement.h"
#include "log_check.h"
#include "pattern.h"
#include "probe.h"
#include "ring_writer.h"
#include "scenes.h"

namespace xenopolis::bench {
namespace {

// The same ones wake the daemon, however many there are.
constexpr uint32_t kWaking = 10;
constexpr std::string_view kLine = "eth0: link is up, 1000 Mbit/s, full duplex, flow control: none\n";

class ConsolesScene final : public Scene {
 public:
  ConsolesScene(const ConsoleKind& kind, uint32_t consoles, double rest_s, const std::string& directory)
      : consoles_(consoles), rest_s_(rest_s), daemon_(kind.start(kind, consoles, directory)) {
    const uint64_t bytes_before = at_rest();
    const uint64_t descriptors_before = daemon_->descriptors();
    daemon_->attach();
    memory_["quiet_own_bytes_per_console"] = per_console(at_rest(), bytes_before);
    memory_["descriptors_per_console"] = per_console(daemon_->descriptors(), descriptors_before);
    for (uint32_t console = 0; console < consoles; ++console) say(console, kLine);
    memory_["spoken_own_bytes_per_console"] = per_console(at_rest(), bytes_before);
  }

  void begin() override {
    pin(daemon_->pid(), cpus_.daemon);
    pin(0, cpus_.daemon);
  }

  Figures measure(std::string_view measurement, double seconds) override {
    if (measurement == "memory") return memory_;
    if (measurement == "wakeup") return wakeup(seconds);
    const OnCpu apart(cpus_.other);
    if (measurement == "throughput") return throughput(seconds);
    Figures figures;
    for (const uint32_t storming : {0u, kStorming}) {
      if (consoles_ < kProbed + kBusy + storming) continue;
      figures[storming == 0 ? "latency_ns" : "storm_latency_ns"] =
          probe_latency(*daemon_, {.consoles = consoles_, .storming = storming, .seconds = seconds * 5});
    }
    return figures;
  }

 private:
  uint64_t at_rest() const {
    usleep(static_cast<useconds_t>(rest_s_ * 1e6));
    return daemon_->own_bytes();
  }
  double per_console(uint64_t now, uint64_t before) const {
    return (static_cast<double>(now) - static_cast<double>(before)) / consoles_;
  }

  // Until the daemon has taken it.
  void say(uint32_t console, std::string_view text) {
    RingWriter ring(daemon_->ring(console));
    ring.write(text);
    daemon_->notify(console);
    while (!ring.is_consumed()) require(daemon_->wait(console), "the daemon takes what a guest writes");
  }

  // On the daemon's CPU, from the guest's event to that of the daemon, who has taken a line.
  Figures wakeup(double seconds) {
    Figures figures;
    uint32_t console = 0;
    sample(figures, daemon_->pid(), "wakeup", seconds, [&] {
      console = (console + 1) % std::min(consoles_, kWaking);
      say(console, kLine);
    });
    // Any of them, one far from the other, so that no cache holds what the next one needs.
    constexpr uint32_t kStride = 7'919;  // prime
    sample(figures, daemon_->pid(), "wakeup_anywhere", seconds, [&] {
      console = (console + kStride) % consoles_;
      say(console, kLine);
    });
    return figures;
  }

  Figures throughput(double seconds) {
    Figures figures;
    pour(figures, "one", 1, seconds);
    pour(figures, "all", consoles_, seconds);
    return figures;
  }

  // So many guests, one after the other, fill their rings whenever half of one is free. The logs must have it all, byte
  // by byte.
  void pour(Figures& figures, const std::string& name, uint32_t guests, double seconds) {
    LogCheck logs;
    for (uint32_t console = 0; console < guests; ++console) logs.add(console, daemon_->log_of(console));
    logs.wait_until_quiet();
    std::vector<uint64_t> written(guests);
    uint64_t total = 0;
    const uint64_t cpu_before = cpu_ns_of(daemon_->pid()), begin = now_ns();
    const uint64_t end = begin + static_cast<uint64_t>(seconds * 4e9);
    while (now_ns() < end) {
      bool any = false;
      for (uint32_t console = 0; console < guests; ++console) {
        RingWriter ring(daemon_->ring(console));
        const uint32_t room = ring.room();
        if (room < RingWriter::kBytes / 2) continue;
        ring.write(Pattern::at(console, written[console], room));
        daemon_->notify(console);
        written[console] += room;
        total += room;
        any = true;
      }
      if (!any && guests == 1) daemon_->wait(0);
    }
    for (uint32_t console = 0; console < guests; ++console) {
      while (!RingWriter(daemon_->ring(console)).is_consumed()) daemon_->wait(console);
    }
    const auto took_ns = static_cast<double>(now_ns() - begin);
    figures[name + "_bytes_per_s"] = static_cast<double>(total) * 1e9 / took_ns;
    figures[name + "_kib_daemon_cpu_ns"] =
        static_cast<double>(cpu_ns_of(daemon_->pid()) - cpu_before) / (static_cast<double>(total) / 1024);
    const LogCheck::Lost lost = logs.lost(written);
    figures[name + "_lost_bytes"] = lost.bytes;
    figures[name + "_unmarked_lost_bytes"] = lost.unmarked_bytes;
  }

  const uint32_t consoles_;
  const double rest_s_;
  const DaemonCpus cpus_;
  std::unique_ptr<ConsoleDaemon> daemon_;
  Figures memory_;
};

}  // namespace

std::unique_ptr<Scene> make_consoles_scene(const ConsoleKind& kind, uint32_t consoles, double rest_s,
                                           const std::string& directory) {
  std::filesystem::create_directories(directory);
  return std::make_unique<ConsolesScene>(kind, consoles, rest_s, directory);
}

}  // namespace xenopolis::bench
