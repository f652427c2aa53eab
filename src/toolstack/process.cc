#include "toolstack/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>
#include <utility>

#include "base/clock.h"
#include "toolstack/keeper.h"

extern char** environ;

namespace xenopolis::toolstack {
namespace {

// posix_spawn's attributes and file actions with a destructor.
struct SpawnSettings {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;

  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    // Children begin with no signal blocked or ignored, whatever polisd does, and out of the terminal's reach: Ctrl-C
    // is for the one who takes them down in order.
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

}  // namespace

Result<Process> Process::spawn(const std::string& program, const std::vector<std::string>& arguments,
                               const std::vector<int>& fds) {
  // Copies above the targets, so that no dup2 overwrites a source.
  const int first_free = kFirstInheritedFd + static_cast<int>(fds.size());
  std::vector<Fd> sources;
  for (const int fd : fds) {
    sources.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, first_free));
    if (!sources.back()) return fail_errno(fmt::format("passing a descriptor to {}", program));
  }
  SpawnSettings settings;
  for (size_t i = 0; i < sources.size(); ++i) {
    posix_spawn_file_actions_adddup2(&settings.actions, sources[i].get(), kFirstInheritedFd + static_cast<int>(i));
  }
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &settings.actions, &settings.attributes, argv.data(), environ);
  if (error != 0) return fail(error, fmt::format("starting {}", program));
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    const Error reason = system_error(fmt::format("pidfd_open of {}", program));
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return tl::make_unexpected(reason);
  }
  return Process(pid, std::move(pidfd), nullptr);
}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(keeper_, other.keeper_);
  std::swap(exit_status_, other.exit_status_);
  return *this;
}

Process::~Process() {
  if (!pidfd_ || pid_ == 0) return;
  kill(pid_, SIGKILL);
  reap();
}

std::string Process::reap() {
  if (pid_ == 0) return "gone";
  const pid_t pid = std::exchange(pid_, 0);
  if (keeper_ != nullptr) return keeper_->reap(pid);
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) return "gone";
  if (WIFSIGNALED(status))
    return fmt::format("was killed by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  exit_status_ = WEXITSTATUS(status);
  return fmt::format("exited with status {}", *exit_status_);
}

void Process::signal(int number) const {
  if (pid_ != 0) kill(pid_, number);
}

void Process::wait_until(uint64_t deadline_ns) const {
  pollfd ended{pidfd_.get(), POLLIN, 0};
  const uint64_t now_ns = MonotonicClock().now_ns();
  const auto left_ms = deadline_ns <= now_ns ? 0 : static_cast<int>((deadline_ns - now_ns) / 1'000'000 + 1);
  (void)poll(&ended, 1, left_ms);
}

std::string program_directory() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

std::vector<std::string> machine_arguments() {
  std::vector<int> doorbells;
  for (int fd = kFirstInheritedFd + 1; fd < kFdAfterMachine; ++fd) doorbells.push_back(fd);
  return {"--machine-fd", fmt::format("{}", kFirstInheritedFd), "--doorbell-fds",
          fmt::format("{}", fmt::join(doorbells, ","))};
}

}  // namespace xenopolis::toolstack
