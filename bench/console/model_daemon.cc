// The model of xenconsoled beside guests that are this process.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>

#include <array>
#include <fstream>
#include <vector>

#include "base/fd.h"
#include "common/basics.h"
#include "daemon.h"
#include "xenconsoled_model.h"

namespace xenopolis::bench {
namespace {

// Of the model's process: beside those of consoles, each of which has four.
constexpr uint64_t kOtherDescriptors = 40;
constexpr uint64_t kDescriptorsPerConsole = 4;
// kernel.pty.max less kernel.pty.reserve, which is for the host's own /dev/pts; and some that others have.
constexpr uint64_t kOthersTerminals = 32;

class TerminalReader final : public Reader {
 public:
  explicit TerminalReader(const char* path) : fd_(open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)) {
    if (!fd_) give_up("{} cannot be opened", path);
    // What nobody has read yet.
    tcflush(fd_.get(), TCIFLUSH);
    while (!take().empty()) {
    }
  }
  int fd() const override { return fd_.get(); }
  std::string_view take() override {
    const ssize_t size = read(fd_.get(), buffer_.data(), buffer_.size());
    return {buffer_.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))};
  }

 private:
  Fd fd_;
  std::array<char, 4096> buffer_;
};

class ModelDaemon final : public ConsoleDaemon {
 public:
  ModelDaemon(uint32_t consoles, const std::string& directory)
      : consoles_(consoles), directory_(directory), guests_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    int sockets[2];
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0, "a socket pair can be had");
    commands_ = Fd(sockets[0]);
    const Fd theirs(sockets[1]);
    pages_ = static_cast<ModelPage*>(
        mmap(nullptr, consoles * sizeof(ModelPage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    require(pages_ != MAP_FAILED && guests_, "the guests' rings can be mapped, and guests be told");
    for (uint32_t console = 0; console < consoles; ++console) {
      events_.emplace_back(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      require(static_cast<bool>(events_.back()), "an eventfd can be had");
      event_fds_.push_back(events_.back().get());
    }
    pid_ = fork();
    require(pid_ >= 0, "a process can be had");
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "model");
    commands_.reset();
    run_xenconsoled_model({pages_, event_fds_.data(), guests_.get(), theirs.get(), directory_});
  }
  ~ModelDaemon() override {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  uint64_t own_bytes() const override {
    const Memory memory = memory_of(pid_, "");
    return memory.anonymous_bytes + memory.page_table_bytes;
  }

  // What consoles have that are not attached yet is there already, because it is inherited.
  uint64_t descriptors() const override { return descriptors_of(pid_) - (is_attached_ ? 0 : consoles_); }

  void attach() override {
    uint32_t attached = 0;
    require(send(commands_.get(), &consoles_, sizeof consoles_, MSG_NOSIGNAL) == sizeof consoles_ &&
                recv(commands_.get(), &attached, sizeof attached, 0) == sizeof attached,
            "the model answers");
    if (attached != consoles_) give_up("there is no pty for console {}", attached);
    is_attached_ = true;
  }

  xencons_interface& ring(uint32_t console) override { return pages_[console].console.ring; }
  void notify(uint32_t console) override {
    const uint64_t one = 1;
    require(write(event_fds_[console], &one, sizeof one) == sizeof one, "the daemon can be notified");
  }
  bool wait(uint32_t) override {
    pollfd readable{guests_.get(), POLLIN, 0};
    uint64_t events = 0;
    return poll(&readable, 1, kPatienceMs) == 1 && read(guests_.get(), &events, sizeof events) == sizeof events;
  }

  std::unique_ptr<Reader> attach_reader(uint32_t console) override {
    return std::make_unique<TerminalReader>(pages_[console].console.terminal);
  }
  std::string log_of(uint32_t console) const override { return fmt::format("{}/{}.log", directory_, console); }

 private:
  const uint32_t consoles_;
  const std::string directory_;
  Fd guests_, commands_;
  bool is_attached_ = false;
  ModelPage* pages_ = nullptr;
  std::vector<Fd> events_;
  std::vector<int> event_fds_;
};

uint64_t number_in_file(const char* path) {
  uint64_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

}  // namespace

ConsoleKind model_console_kind() {
  rlimit limit{};
  require(getrlimit(RLIMIT_NOFILE, &limit) == 0, "the limit on descriptors is known");
  const uint64_t by_descriptors = (limit.rlim_max - kOtherDescriptors) / kDescriptorsPerConsole;
  const uint64_t all = number_in_file("/proc/sys/kernel/pty/max"),
                 reserve = number_in_file("/proc/sys/kernel/pty/reserve");
  const uint64_t by_terminals = all - std::min(all, reserve + kOthersTerminals);
  return {
      .name = "model",
      .description = "a model of xenconsoled's loop (Xen 4.17, --log=guest), not the program; readers open its ptys",
      .most_consoles = static_cast<uint32_t>(std::min(by_descriptors, by_terminals)),
      .end = by_terminals < by_descriptors
                 ? fmt::format("a pty each: kernel.pty.max is {}, less a reserve of {}", all, reserve)
                 : fmt::format("four descriptors each: RLIMIT_NOFILE is {}", limit.rlim_max),
      .start = [](const ConsoleKind&, uint32_t consoles, const std::string& directory)
          -> std::unique_ptr<ConsoleDaemon> { return std::make_unique<ModelDaemon>(consoles, directory); },
      .program = ""};
}

}  // namespace xenopolis::bench
