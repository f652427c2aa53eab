#include "experiment/peers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/fd.h"
#include "experiment/progress.h"
#include "experiment/statistics.h"
#include "toolstack/host_memory.h"
#include "toolstack/process.h"

namespace xenopolis::experiment {
namespace {

constexpr uint64_t kPatienceNs = 20'000'000'000;
constexpr int kPollMs = 100;
// How many are started between two looks at the memory that is left.
constexpr uint32_t kMemoryCheckEach = 16;

struct Peer {
  std::string name;
  std::string what;
  std::vector<std::string> command;
};

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string candidate = rest.substr(0, colon) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return "";
}

// What a program says of its version, first line.
std::string version_of(const std::string& program) {
  std::FILE* output = popen(fmt::format("'{}' --version 2>/dev/null", program).c_str(), "re");
  if (output == nullptr) return program;
  char line[200] = {};
  if (std::fgets(line, sizeof line, output) == nullptr) line[0] = '\0';
  pclose(output);
  std::string version = line;
  while (!version.empty() && version.back() == '\n') version.pop_back();
  // "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)": the package's version says the same again.
  return version.substr(0, version.find(" ("));
}

std::vector<Peer> installed_peers() {
  std::vector<Peer> peers;
  const std::string process = toolstack::program_directory() + "/polis-peer";
  if (access(process.c_str(), X_OK) == 0) {
    peers.push_back({"process", "fork and exec of a static program that writes a line and waits", {process}});
    if (const std::string bwrap = find_program("bwrap"); !bwrap.empty()) {
      peers.push_back({"bwrap",
                       version_of(bwrap) + ", all namespaces unshared, the same program in it",
                       {bwrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", process}});
    }
  }
  const std::string kernel = toolstack::program_directory() + "/../guest/peer-guest";
  const std::string qemu = find_program("qemu-system-x86_64");
  if (!qemu.empty() && access(kernel.c_str(), R_OK) == 0 && access("/dev/kvm", R_OK | W_OK) == 0) {
    peers.push_back({"QEMU microvm",
                     version_of(qemu) + ", KVM, 32 MiB, a kernel that writes a line to its serial port and halts",
                     {qemu, "-M", "microvm,x-option-roms=off,rtc=off,pit=off,pic=off,isa-serial=on,acpi=off", "-accel",
                      "kvm", "-cpu", "host", "-m", "32", "-no-user-config", "-nodefaults", "-display", "none",
                      "-serial", "stdio", "-kernel", kernel}});
  }
  return peers;
}

struct Starting {
  pid_t pid;
  uint64_t since_ns;
  Fd output;
};

uint64_t now_ns() {
  return MonotonicClock().now_ns();
}

// Of what was started: ends it with its own end, however that comes.
class Crowd {
 public:
  ~Crowd() {
    for (const pid_t pid : pids_) kill(pid, SIGKILL);
    for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
  }

  Result<Starting> start(const std::vector<std::string>& command) {
    std::vector<char*> arguments;
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe2");
    Fd output(ends[0]);
    const Fd input(ends[1]);
    const uint64_t since_ns = now_ns();
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) return fail_errno("fork");
    if (pid == 0) {
      // Between fork and exec: system calls only. A parent that died before prctl is seen by its number.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(127);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      const int null = open("/dev/null", O_RDWR);
      dup2(null, STDIN_FILENO);
      dup2(input.get(), STDOUT_FILENO);
      dup2(null, STDERR_FILENO);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    pids_.push_back(pid);
    return Starting{pid, since_ns, std::move(output)};
  }

 private:
  std::vector<pid_t> pids_;
};

uint64_t available_kib() {
  const auto memory = toolstack::host_memory();
  return memory ? memory->available_kib : 0;
}

std::string end_of(pid_t pid) {
  siginfo_t info{};
  // The crowd reaps it.
  if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT | WNOHANG) != 0 || info.si_pid == 0)
    return "it closed its output";
  return info.si_code == CLD_EXITED ? fmt::format("it exited with status {}", info.si_status)
                                    : fmt::format("signal {} ended it", info.si_status);
}

// Until one of those has said its first word, or none has for `kPollMs`: its index.
std::optional<size_t> wait_for_one(const std::vector<Starting>& starting) {
  std::vector<pollfd> fds;
  for (const Starting& one : starting) fds.push_back({one.output.get(), POLLIN, 0});
  if (poll(fds.data(), fds.size(), kPollMs) <= 0) return std::nullopt;
  for (size_t index = 0; index < fds.size(); ++index) {
    if (fds[index].revents != 0) return index;
  }
  return std::nullopt;
}

PeerRecord measure(const Peer& peer, const PeerOptions& options, const std::function<bool()>& stop) {
  PeerRecord record;
  record.name = peer.name;
  record.what = peer.what;
  record.wanted = options.count;
  Progress progress(peer.name, options.count, options.quiet);
  Crowd crowd;
  std::vector<Starting> starting;
  std::vector<double> times_ms;
  const uint64_t memory_before = available_kib();
  const uint64_t start_ns = now_ns();
  uint64_t last_up_ns = start_ns;
  uint32_t begun = 0;
  while (times_ms.size() < options.count && record.note.empty()) {
    while (begun < options.count && starting.size() < options.window) {
      if (begun % kMemoryCheckEach == 0 && available_kib() < options.reserve_mib * 1024) {
        record.note = fmt::format("memory for {} only", begun);
        break;
      }
      auto one = crowd.start(peer.command);
      if (!one) {
        record.note = one.error().message();
        break;
      }
      starting.push_back(std::move(*one));
      ++begun;
    }
    if (starting.empty()) break;
    if (stop()) {
      record.note = "interrupted";
      break;
    }
    const auto ready = wait_for_one(starting);
    if (!ready) {
      if (now_ns() - last_up_ns > kPatienceNs)
        record.note = fmt::format("no word from number {} in 20 s", times_ms.size() + 1);
      continue;
    }
    char word = 0;
    if (read(starting[*ready].output.get(), &word, 1) != 1) {
      record.note = fmt::format("number {}: {}", times_ms.size() + 1, end_of(starting[*ready].pid));
      continue;
    }
    last_up_ns = now_ns();
    times_ms.push_back(static_cast<double>(last_up_ns - starting[*ready].since_ns) / 1e6);
    starting.erase(starting.begin() + static_cast<long>(*ready));
    progress.update(times_ms.size());
  }
  record.started = static_cast<uint32_t>(times_ms.size());
  if (times_ms.empty()) return record;
  const auto count = static_cast<double>(times_ms.size());
  record.memory_kib_each = (static_cast<double>(memory_before) - static_cast<double>(available_kib())) / count;
  record.wall_ms_each = static_cast<double>(last_up_ns - start_ns) / 1e6 / count;
  record.each_p50_ms = percentile(times_ms, 0.5);
  record.each_p99_ms = percentile(times_ms, 0.99);
  return record;
}

}  // namespace

std::vector<PeerRecord> measure_peers(const PeerOptions& options, const std::function<bool()>& stop) {
  std::vector<PeerRecord> records;
  for (const Peer& peer : installed_peers()) {
    if (stop()) break;
    records.push_back(measure(peer, options, stop));
  }
  return records;
}

}  // namespace xenopolis::experiment
