#include "daemon.h"

#include <sys/socket.h>

#include <ctime>
#include <fstream>

#include "common/basics.h"
#include "raw_client.h"

namespace xenopolis::bench {
namespace {

// Its pid is what the socket says: of the process that called listen().
class RunningDaemon final : public Daemon {
 public:
  explicit RunningDaemon(const std::string& socket_path) {
    socket_path_ = socket_path;
    wait_until_it_serves();
    pid_ = RawClient(socket_path).peer_pid();
  }

  void add_guest(DomId) override { refuse(); }
  Gfn ring_gfn() const override { refuse(); }
  Port ring_port(DomId) const override { refuse(); }
  xenstore_domain_interface& ring(DomId) override { refuse(); }
  void notify(DomId) override { refuse(); }
  bool wait(DomId) override { refuse(); }

 private:
  [[noreturn]] static void refuse() { give_up("guests of a running daemon cannot be reached"); }
};

}  // namespace

uint64_t Daemon::cpu_ns() const {
  clockid_t clock{};
  timespec used{};
  require(clock_getcpuclockid(pid_, &clock) == 0 && clock_gettime(clock, &used) == 0, "the daemon is still there");
  return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(used.tv_nsec);
}

Memory Daemon::memory() const {
  Memory memory;
  std::ifstream file(fmt::format("/proc/{}/smaps", pid_));
  bool is_machine = false;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    const auto bytes = [&] { return std::strtoull(line.c_str() + colon + 1, nullptr, 10) * 1024; };
    if (line.starts_with("Rss:")) {
      memory.resident_bytes += bytes();
      if (is_machine) memory.machine_bytes += bytes();
    } else if (line.starts_with("Anonymous:")) {
      memory.anonymous_bytes += bytes();
    } else if (line.find('-') < line.find(' ')) {  // "7d00...-7e00... rw-s ...": the next mapping
      is_machine = !machine_file_.empty() && line.find(machine_file_) != std::string::npos;
    }
  }
  std::ifstream status(fmt::format("/proc/{}/status", pid_));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmPTE:")) memory.page_table_bytes = std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  require(memory.resident_bytes != 0, "the daemon's memory is known");
  return memory;
}

void Daemon::wait_until_it_serves() const {
  const uint64_t deadline = now_ns() + uint64_t{kPatienceMs} * 1'000'000;
  while (!RawClient::can_connect(socket_path_)) {
    if (now_ns() > deadline) give_up("nobody serves {}", socket_path_);
    const timespec pause{0, 2'000'000};
    nanosleep(&pause, nullptr);
  }
  RawClient(socket_path_).ask(XS_DIRECTORY, terminated("/"));
}

Kind running_kind(const std::string& socket_path) {
  return {.name = "running",
          .description = "what listens at " + socket_path,
          .has_guests = false,
          .start = [](const Kind& kind, const std::string&) -> std::unique_ptr<Daemon> {
            return std::make_unique<RunningDaemon>(kind.program);
          },
          .program = socket_path};
}

}  // namespace xenopolis::bench
