#include "common/worker.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

#include "common/basics.h"

namespace xenopolis::bench {
namespace {

// No measurement takes so long: something must have been lost.
constexpr unsigned kWatchdogSeconds = 300;

void put(int socket, const nlohmann::json& message) {
  const std::string text = message.dump() + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = send(socket, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (written <= 0) give_up("a worker has gone");
    done += static_cast<size_t>(written);
  }
}

// Empty at the end.
std::string get_line(int socket) {
  std::string line;
  char buffer[1 << 16];
  while (line.empty() || line.back() != '\n') {
    const ssize_t size = read(socket, buffer, sizeof buffer);
    if (size <= 0) return {};
    line.append(buffer, static_cast<size_t>(size));
  }
  return line;
}

[[noreturn]] void work(int socket, const std::function<Worker::Serve()>& set_up) {
  const Worker::Serve serve = set_up();
  put(socket, now_ns());
  for (std::string line; line = get_line(socket), !line.empty();) {
    alarm(kWatchdogSeconds);
    put(socket, serve(nlohmann::json::parse(line)));
    alarm(0);
  }
  // Nothing is worth being torn down in order: whom the worker has started goes with it.
  _exit(0);
}

}  // namespace

Worker::Worker(std::string name, const std::function<Serve()>& set_up) : name_(std::move(name)), begin_ns_(now_ns()) {
  int sockets[2];
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "a socket pair can be had");
  const pid_t parent = getpid();
  pid_ = fork();
  require(pid_ >= 0, "a process can be had");
  socket_ = Fd(sockets[0]);
  const Fd theirs(sockets[1]);
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  socket_.reset();
  try {
    work(theirs.get(), set_up);
  } catch (const std::exception& error) {
    give_up("{}: {}", name_, error.what());
  }
}

Worker::~Worker() {
  socket_.reset();
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::optional<double> Worker::wait_until_ready(double patience_s) {
  const double left_s = patience_s - static_cast<double>(now_ns() - begin_ns_) / 1e9;
  pollfd readable{socket_.get(), POLLIN, 0};
  if (poll(&readable, 1, std::max(1, static_cast<int>(left_s * 1e3))) == 0) return std::nullopt;
  const std::string line = get_line(socket_.get());
  if (line.empty()) give_up("{}: cannot be set up", name_);
  return static_cast<double>(std::stoull(line) - begin_ns_) / 1e9;
}

nlohmann::json Worker::ask(const nlohmann::json& request, const std::string& what) {
  put(socket_.get(), request);
  const std::string line = get_line(socket_.get());
  if (line.empty()) give_up("{}: {} failed", name_, what);
  return nlohmann::json::parse(line);
}

}  // namespace xenopolis::bench
