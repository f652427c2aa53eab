#include "worker.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <string>

namespace xenopolis::bench {
namespace {

// No measurement takes so long: an event must have been lost.
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

[[noreturn]] void work(int socket, const Subject& subject, uint32_t channels, Cpus cpus) {
  pin_to(cpus.consumer, "consumer");
  const std::unique_ptr<Transport> transport = subject.make(subject, channels);
  put(socket, "ready");
  for (std::string line; line = get_line(socket), !line.empty();) {
    const nlohmann::json request = nlohmann::json::parse(line);
    const Measurement function = measurement(request.at("measurement").get<std::string>());
    require(function != nullptr, "a measurement of this name exists");
    alarm(kWatchdogSeconds);
    put(socket, function(*transport, {channels, cpus, request.at("seconds").get<double>(), request.at("parameters")}));
    alarm(0);
  }
  // Nothing is worth being torn down in order.
  _exit(0);
}

}  // namespace

Worker::Worker(const Subject& subject, uint32_t channels, Cpus cpus) : subject_(&subject), channels_(channels) {
  int sockets[2];
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "a socket pair can be had");
  pid_ = fork();
  require(pid_ >= 0, "a process can be had");
  socket_ = Fd(sockets[0]);
  const Fd theirs(sockets[1]);
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      work(theirs.get(), subject, channels, cpus);
    } catch (const std::exception& error) {
      give_up("{} with {} channels: {}", subject.name, channels, error.what());
    }
  }
  if (get_line(socket_.get()).empty()) give_up("{} with {} channels cannot be set up", subject.name, channels);
}

Worker::~Worker() {
  socket_.reset();
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

Figures Worker::run(std::string_view measurement, double seconds, const nlohmann::json& parameters) {
  put(socket_.get(), {{"measurement", measurement}, {"seconds", seconds}, {"parameters", parameters}});
  const std::string line = get_line(socket_.get());
  if (line.empty()) give_up("{} with {} channels: {} failed", subject_->name, channels_, measurement);
  return nlohmann::json::parse(line);
}

}  // namespace xenopolis::bench
