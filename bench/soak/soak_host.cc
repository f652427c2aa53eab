#include "soak_host.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <deque>
#include <fstream>

#include "base/clock.h"

namespace xenopolis::bench {
namespace {

constexpr int kEndPatienceMs = 30'000;
constexpr uint64_t kConnectPatienceNs = 30'000'000'000;
constexpr int kBetweenTriesMs = 10;

// Until the end of the scope what is started here writes its messages there.
class MessagesTo {
 public:
  explicit MessagesTo(const std::string& file)
      : before_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)),
        log_(open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600)) {
    if (log_) dup2(log_.get(), STDERR_FILENO);
  }
  ~MessagesTo() { dup2(before_.get(), STDERR_FILENO); }

 private:
  const Fd before_, log_;
};

}  // namespace

Result<std::unique_ptr<SoakHost>> SoakHost::start(const std::string& polisd, const std::string& directory,
                                                  const std::string& backend) {
  const MessagesTo messages(directory + "/messages");
  toolstack::Process keeper =
      TRY(toolstack::Process::spawn(polisd,
                                    {"--run-dir", directory, "--backend", backend, "--reserve-mib", "64", "--log-level",
                                     "error", "--die-with-parent"},
                                    {}));
  std::unique_ptr<SoakHost> host(new SoakHost(std::move(keeper), directory));
  TRY_VOID(host->connect());
  return host;
}

SoakHost::~SoakHost() {
  client_.reset();
  keeper_.signal(SIGTERM);
  pollfd ended{keeper_.pidfd(), POLLIN, 0};
  if (poll(&ended, 1, kEndPatienceMs) == 1) keeper_.reap();
}

Status SoakHost::connect() {
  client_.reset();
  const MonotonicClock clock;
  for (const uint64_t start_ns = clock.now_ns();;) {
    auto client = cli::HostClient::connect(directory_);
    if (client) {
      client_ = *std::move(client);
      return {};
    }
    if (clock.now_ns() - start_ns > kConnectPatienceNs) return tl::make_unexpected(client.error());
    poll(nullptr, 0, kBetweenTriesMs);
  }
}

std::vector<std::string> SoakHost::last_messages() const {
  constexpr size_t kLines = 20;
  std::deque<std::string> lines;
  std::ifstream file(directory_ + "/messages");
  for (std::string line; std::getline(file, line);) {
    // Guests may crash as they like.
    if (line.find(" crashed: ") != std::string::npos) continue;
    lines.push_back(std::move(line));
    if (lines.size() > kLines) lines.pop_front();
  }
  return {lines.begin(), lines.end()};
}

Status SoakHost::kill_polisd() {
  const pid_t pid = pid_of("polisd");
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (pid == 0 || !pidfd) return fail(ESRCH, "there is no polisd");
  client_.reset();
  kill(pid, SIGKILL);
  // Its socket takes connections until it is really gone.
  pollfd ended{pidfd.get(), POLLIN, 0};
  if (poll(&ended, 1, kEndPatienceMs) != 1) return fail(ETIMEDOUT, "polisd does not die");
  return connect();
}

pid_t SoakHost::pid_of(const std::string& program, size_t which) {
  const auto info = client_->ask({{"op", "info"}});
  if (!info) return 0;
  const nlohmann::json& processes = info->at("processes");
  if (program != "polis-cell") return processes.at(program);
  const nlohmann::json& cells = processes.at("cells");
  return cells.empty() ? 0 : cells.at(which % cells.size()).get<pid_t>();
}

}  // namespace xenopolis::bench
