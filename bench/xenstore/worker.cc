#include "worker.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <filesystem>

#include "base/fd.h"

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

[[noreturn]] void work(int socket, const Kind& kind, const SceneKind& scene_kind, uint32_t at,
                       const std::string& directory) {
  use_all_descriptors();
  const Cpus cpus = choose_cpus();
  std::filesystem::create_directories(directory);
  const std::unique_ptr<Daemon> daemon = kind.start(kind, directory);
  setenv("XENSTORED_PATH", daemon->socket_path().c_str(), 1);
  const std::unique_ptr<Scene> scene = scene_kind.make(*daemon, at, cpus);
  put(socket, now_ns());
  // From here on, since set-ups of several workers go on at the same time.
  pin(daemon->pid(), cpus.daemon);
  const OnCpu together(cpus.daemon);
  for (std::string line; line = get_line(socket), !line.empty();) {
    const nlohmann::json request = nlohmann::json::parse(line);
    alarm(kWatchdogSeconds);
    put(socket, scene->measure(request.at("measurement").get<std::string>(), request.at("seconds").get<double>()));
    alarm(0);
  }
  // Nothing is worth being torn down in order: the daemon goes with its parent.
  _exit(0);
}

}  // namespace

Worker::Worker(const Kind& kind, const SceneKind& scene, uint32_t at, const std::string& directory)
    : kind_(&kind), scene_(&scene), at_(at), begin_ns_(now_ns()) {
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
    work(theirs.get(), kind, scene, at, directory);
  } catch (const std::exception& error) {
    give_up("{}, {} at {}: {}", kind.name, scene.name, at, error.what());
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
  if (line.empty()) give_up("{}, {} at {}: cannot be set up", kind_->name, scene_->name, at_);
  return static_cast<double>(std::stoull(line) - begin_ns_) / 1e9;
}

Figures Worker::run(std::string_view measurement, double seconds) {
  put(socket_.get(), {{"measurement", measurement}, {"seconds", seconds}});
  const std::string line = get_line(socket_.get());
  if (line.empty()) give_up("{}, {} at {}: {} failed", kind_->name, scene_->name, at_, measurement);
  return nlohmann::json::parse(line);
}

}  // namespace xenopolis::bench
