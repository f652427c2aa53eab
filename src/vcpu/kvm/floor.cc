#include "vcpu/kvm/floor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "vcpu/kvm/bare_vm.h"

namespace xenopolis::vcpu::kvm {
namespace {

Result<std::vector<BareVm>> create_all(const KvmSystem& system, uint32_t count, uint32_t exits) {
  std::vector<BareVm> machines;
  machines.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    machines.push_back(TRY(BareVm::create(system)));
    for (uint32_t exit = 0; exit < exits; ++exit) TRY_VOID(machines.back().run_to_exit());
  }
  return machines;
}

// A child process: reports an errno value (0: done) through `report`, then lives until `release` ends.
[[noreturn]] void work(int report, int release, uint32_t count, uint32_t exits) {
  const auto system = KvmSystem::open();
  int32_t code = system ? 0 : system.error().code;
  if (system) {
    const auto machines = create_all(*system, count, exits);
    if (!machines) code = std::max(machines.error().code, 1);
    const bool told = write(report, &code, sizeof code) == sizeof code;
    char end;
    static_cast<void>(read(release, &end, 1));
    _exit(told ? 0 : 1);
  }
  static_cast<void>(!write(report, &code, sizeof code));
  _exit(0);
}

// The children. All of them are reaped when this goes.
class Workers {
 public:
  Workers(Fd release_read, Fd release_write)
      : release_read_(std::move(release_read)), release_write_(std::move(release_write)) {}
  ~Workers() {
    release_write_.reset();
    for (pid_t pid : pids_) waitpid(pid, nullptr, 0);
  }

  size_t busy() const { return reports_.size(); }

  Status start(uint32_t count, uint32_t exits) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe2");
    Fd read_end(ends[0]), write_end(ends[1]);
    const pid_t pid = fork();
    if (pid < 0) return fail_errno("fork");
    if (pid == 0) {
      release_write_.reset();
      work(write_end.get(), release_read_.get(), count, exits);
    }
    pids_.push_back(pid);
    reports_.push_back(std::move(read_end));
    return {};
  }

  // Waits until one is done.
  Status finish_one() {
    std::vector<pollfd> polled;
    for (const Fd& report : reports_) polled.push_back({report.get(), POLLIN, 0});
    while (poll(polled.data(), polled.size(), -1) < 0) {
      if (errno != EINTR) return fail_errno("poll");
    }
    for (size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      int32_t code = 0;
      const bool reported = read(reports_[i].get(), &code, sizeof code) == sizeof code;
      reports_.erase(reports_.begin() + static_cast<std::ptrdiff_t>(i));
      if (!reported) return fail(ECHILD, "a process that measures the floor has died");
      if (code != 0) return fail(code, "creating bare virtual machines");
      return {};
    }
    return {};
  }

 private:
  Fd release_read_;
  Fd release_write_;
  std::vector<pid_t> pids_;
  std::vector<Fd> reports_;
};

}  // namespace

Result<double> measure_floor(uint32_t domains, uint32_t per_process, uint32_t processes, uint32_t exits) {
  if (domains == 0 || per_process == 0 || processes == 0) return fail(EINVAL, "the floor of no virtual machine");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe2");
  Workers workers(Fd{ends[0]}, Fd{ends[1]});
  const MonotonicClock clock;
  const uint64_t start_ns = clock.now_ns();
  for (uint32_t started = 0; started < domains;) {
    const uint32_t count = std::min(per_process, domains - started);
    TRY_VOID(workers.start(count, exits));
    started += count;
    if (workers.busy() == processes) TRY_VOID(workers.finish_one());
  }
  while (workers.busy() != 0) TRY_VOID(workers.finish_one());
  return static_cast<double>(clock.now_ns() - start_ns) / 1e6 / domains;
}

}  // namespace xenopolis::vcpu::kvm
