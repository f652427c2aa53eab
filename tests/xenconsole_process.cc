#include "xenconsole_process.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

namespace xenopolis::testing {
namespace {

constexpr const char* kProgram = "/usr/lib/xen-4.17/bin/xenconsole";
constexpr uint64_t kPatienceNs = 15'000'000'000;

}  // namespace

bool XenconsoleProcess::is_installed() {
  return access(kProgram, X_OK) == 0;
}

XenconsoleProcess::XenconsoleProcess(const std::string& xenstore_socket, std::vector<std::string> arguments,
                                     std::function<void()> while_waiting)
    : while_waiting_(std::move(while_waiting)) {
  // Without a type it would ask a hypervisor what the domain is.
  arguments.insert(arguments.begin(), {kProgram, "--type", "pv"});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int master = -1;
  pid_ = forkpty(&master, nullptr, nullptr, nullptr);
  if (pid_ == 0) {
    setenv("XENSTORED_PATH", xenstore_socket.c_str(), 1);
    execv(kProgram, argv.data());
    _exit(127);
  }
  master_ = Fd(master);
  fcntl(master, F_SETFL, O_NONBLOCK);
}

XenconsoleProcess::~XenconsoleProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void XenconsoleProcess::type(const std::string& keys) {
  if (write(master_.get(), keys.data(), keys.size()) < 0) shown_ += "[cannot type]";
}

bool XenconsoleProcess::read_some() {
  char bytes[4096];
  const ssize_t count = read(master_.get(), bytes, sizeof bytes);
  if (count > 0) shown_.append(bytes, static_cast<size_t>(count));
  return count > 0;
}

std::string XenconsoleProcess::read_until(const std::string& text) {
  const MonotonicClock clock;
  const uint64_t give_up_ns = clock.now_ns() + kPatienceNs;
  for (;;) {
    while (read_some()) {
    }
    if (const size_t found = shown_.find(text); found != std::string::npos) {
      std::string seen = shown_.substr(0, found + text.size());
      shown_.erase(0, found + text.size());
      return seen;
    }
    if (clock.now_ns() > give_up_ns) return std::exchange(shown_, {});
    pollfd readable{master_.get(), POLLIN, 0};
    poll(&readable, 1, 5);
    while_waiting_();
  }
}

int XenconsoleProcess::wait() {
  const MonotonicClock clock;
  const uint64_t give_up_ns = clock.now_ns() + kPatienceNs;
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (clock.now_ns() > give_up_ns) return -1;
    read_some();
    poll(nullptr, 0, 2);
    while_waiting_();
  }
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace xenopolis::testing
