#include "cli/host_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/clock.h"
#include "base/unix_socket.h"
#include "cli/run_directory.h"
#include "toolstack/process.h"

namespace xenopolis::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kStartPatienceMs = 20'000;
constexpr int kStopPatienceMs = 60'000;
constexpr int kLookEveryMs = 10;
constexpr std::streamoff kMostOfLog = 2000;

Status make_directory(const std::string& directory) {
  std::error_code error;
  const fs::path parent = fs::path(directory).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  // Before the lock and the log are opened there, which others could have made links of.
  const Status made = error ? Status(fail(error.value(), directory)) : make_socket_directory(directory);
  if (made || made.error().code == EPERM) return made;
  const Error failed{made.error().code, "creating " + directory};
  if (failed.code != EACCES && failed.code != ENOENT) return tl::make_unexpected(failed);
  return fail(failed.code, fmt::format("{} (set XDG_RUNTIME_DIR to a directory of yours, or choose one with --run-dir)",
                                       failed.what));
}

std::vector<char*> command_of(std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return argv;
}

std::vector<std::string> words_of(const HostStart& start) {
  std::vector<std::string> words{toolstack::program_directory() + "/polisd", "--run-dir", start.run_directory};
  words.insert(words.end(), start.arguments.begin(), start.arguments.end());
  return words;
}

// The end of what was written since `from`.
std::string end_of_log(const std::string& path, std::streamoff from) {
  std::ifstream log(path);
  log.seekg(0, std::ios::end);
  const std::streamoff size = log.tellg();
  if (size <= from) return "it wrote nothing";
  log.seekg(std::max(from, size - kMostOfLog));
  std::string text(std::istreambuf_iterator<char>(log), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// Of the host in that directory, as long as its polis-keeper lives, whatever polisd does meanwhile. EEXIST: somebody
// else has it and is ready for clients, or does not become so.
Result<Fd> take_lock(const std::string& directory) {
  const std::string path = directory + "/lock";
  Fd lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return fail_errno(path);
  for (int waited_ms = 0; waited_ms < kStartPatienceMs; waited_ms += kLookEveryMs) {
    // Who was started without it.
    if (is_running(directory)) break;
    if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
    usleep(kLookEveryMs * 1000);
  }
  return fail(EEXIST, "a host runs there already");
}

// In the child: nothing of the terminal and of this process stays but the lock.
[[noreturn]] void run_polisd(char* const* argv, int log, int lock) {
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  const int null = open("/dev/null", O_RDONLY);
  if (dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0) _exit(126);
  constexpr int kLock = 3;
  if (lock == kLock ? fcntl(lock, F_SETFD, 0) < 0 : dup2(lock, kLock) < 0) _exit(126);
  syscall(SYS_close_range, static_cast<unsigned>(kLock) + 1, ~0u, 0u);
  // The directory from which it was started may be wanted by others.
  if (chdir("/") != 0) _exit(126);
  execv(argv[0], argv);
  dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

}  // namespace

bool is_running(const std::string& run_directory) {
  return connect_unix(run_directory + "/polisd.sock", SOCK_STREAM, 0).has_value();
}

Status start_host(const HostStart& wanted) {
  HostStart start = wanted;
  start.run_directory = fs::absolute(start.run_directory).lexically_normal().string();
  TRY_VOID(make_directory(start.run_directory));
  const Fd lock = TRY(take_lock(start.run_directory));
  const std::string log_path = start.run_directory + "/polisd.log";
  const Fd log(open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return fail_errno(log_path);
  const std::streamoff log_begin = lseek(log.get(), 0, SEEK_END);
  std::vector<std::string> words = words_of(start);
  const std::vector<char*> argv = command_of(words);
  const pid_t child = fork();
  if (child < 0) return fail_errno("starting polisd");
  if (child == 0) run_polisd(argv.data(), log.get(), lock.get());
  const auto failed = [&](const std::string& how) {
    return fail(0, fmt::format("polisd {} ({}):\n{}", how, log_path, end_of_log(log_path, log_begin)));
  };
  for (int waited_ms = 0; waited_ms < kStartPatienceMs; waited_ms += kLookEveryMs) {
    if (is_running(start.run_directory)) return {};
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) return failed("ended at once");
    usleep(kLookEveryMs * 1000);
  }
  kill(child, SIGTERM);
  return failed(fmt::format("was not ready after {} s", kStartPatienceMs / 1000));
}

Error become_host(const HostStart& wanted) {
  HostStart start = wanted;
  start.run_directory = fs::absolute(start.run_directory).lexically_normal().string();
  if (const Status made = make_directory(start.run_directory); !made) return made.error();
  const auto lock = take_lock(start.run_directory);
  if (!lock) return lock.error();
  fcntl(lock->get(), F_SETFD, 0);
  std::vector<std::string> words = words_of(start);
  const std::vector<char*> argv = command_of(words);
  execv(argv[0], argv.data());
  return system_error(words.front());
}

Status stop_host(HostClient& client) {
  const nlohmann::json info = TRY(client.ask({{"op", "info"}}));
  const nlohmann::json& processes = info.at("processes");
  const char* last = processes.contains("polis-keeper") ? "polis-keeper" : "polisd";
  const pid_t pid = processes.at(last).get<pid_t>();
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return fail_errno(fmt::format("process {}", pid));
  const auto answer = client.control().ask({{"op", "stop"}});
  if (!answer && answer.error().code != EPIPE) return tl::make_unexpected(answer.error());
  pollfd ended{pidfd.get(), POLLIN, 0};
  const int count = poll(&ended, 1, kStopPatienceMs);
  if (count < 0) return fail_errno("waiting for the end of the host");
  if (count == 0) return fail(ETIMEDOUT, fmt::format("{} (process {}) does not end", last, pid));
  return {};
}

std::vector<std::string> running_hosts() {
  std::vector<std::string> hosts;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(hosts_directory(), error)) {
    if (is_running(entry.path().string())) hosts.push_back(entry.path().string());
  }
  std::sort(hosts.begin(), hosts.end());
  return hosts;
}

}  // namespace xenopolis::cli
