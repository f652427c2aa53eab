#include "xenconsoled_model.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "common/basics.h"

namespace xenopolis::bench {
namespace {

// Events of one console in each period; then it is left out until the next.
constexpr int kAllowance = 30;
constexpr int64_t kPeriodMs = 200;
// A look may come so much before the end of a period.
constexpr int64_t kFuzzMs = 5;
// .../console/limit, as libxl writes it.
constexpr size_t kLimit = 1 << 20;

int64_t now_ms() {
  return static_cast<int64_t>(now_ns() / 1'000'000);
}

// What has been taken from the ring and not been written to the terminal. With the limit reached, and a quarter more,
// what was taken in the middle is thrown away ("discard", the default).
class Buffer {
 public:
  bool is_empty() const { return bytes_.empty(); }
  void append(const char* text, size_t size) {
    if (bytes_.capacity() - bytes_.size() < size) bytes_.reserve(bytes_.capacity() + size + 1024);
    bytes_.insert(bytes_.end(), text, text + size);
  }
  const char* unwritten() const { return bytes_.data() + written_; }
  size_t unwritten_size() const { return bytes_.size() - written_; }
  void written(size_t size) {
    written_ += size;
    if (written_ < bytes_.size()) return;
    bytes_.clear();
    written_ = 0;
  }
  void discard_overflow() {
    if (bytes_.size() <= 5 * kLimit / 4) return;
    const auto at = [this](size_t place) { return bytes_.begin() + static_cast<ptrdiff_t>(place); };
    if (written_ > kLimit / 4) {
      bytes_.erase(at(0), at(written_));
      written_ = 0;
    } else {
      bytes_.erase(at(kLimit / 2), at(kLimit));
    }
  }

 private:
  std::vector<char> bytes_;
  size_t written_ = 0;
};

struct Domain {
  Domain* next = nullptr;
  xencons_interface* ring = nullptr;
  int event_fd = -1, terminal_fd = -1, slave_fd = -1, log_fd = -1;  // the slave stays open, for Linux' sake
  int event_index = -1, terminal_index = -1;                        // in the poll set
  int events = 0;                                                   // in this period
  int64_t period_end_ms = 0;
  Buffer buffer;
};

class Model {
 public:
  explicit Model(const ModelWorld& world) : world_(world), nowhere_(open("/dev/null", O_WRONLY | O_CLOEXEC)) {}

  void run() {
    for (;;) {
      poll_set_.clear();
      add(world_.commands_fd, POLLIN);
      const int timeout_ms = rebuild_poll_set();
      const int ready = poll(poll_set_.data(), poll_set_.size(), timeout_ms);
      require(ready >= 0 || errno == EINTR, "the model can poll");
      if (ready <= 0) continue;
      if (poll_set_.front().revents != 0) serve_command();
      for (Domain* domain = first_; domain != nullptr; domain = domain->next) {
        serve_ring(*domain);
        serve_terminal(*domain);
      }
    }
  }

 private:
  int add(int fd, int events) {
    poll_set_.push_back({fd, static_cast<short>(events | POLLPRI), 0});
    return static_cast<int>(poll_set_.size()) - 1;
  }

  // All of it, at each wakeup. The timeout: until a console may write again that has used up what it may, or -1.
  int rebuild_poll_set() {
    const int64_t now = now_ms();
    int64_t next_ms = 0;
    for (Domain* domain = first_; domain != nullptr; domain = domain->next) {
      if (now + kFuzzMs > domain->period_end_ms) {
        domain->period_end_ms = now + kPeriodMs;
        if (domain->events >= kAllowance) unmask();
        domain->events = 0;
      }
      if (domain->events >= kAllowance) {
        next_ms = next_ms == 0 ? domain->period_end_ms : std::min(next_ms, domain->period_end_ms);
      } else {
        domain->event_index = add(domain->event_fd, POLLIN);
      }
      const uint32_t used = domain->ring->in_prod - domain->ring->in_cons;
      int events = used < sizeof domain->ring->in ? POLLIN : 0;
      if (!domain->buffer.is_empty()) events |= POLLOUT;
      if (events != 0) domain->terminal_index = add(domain->terminal_fd, events);
    }
    return next_ms == 0 ? -1 : static_cast<int>(std::max<int64_t>(1, next_ms - now));
  }

  // The loop closes a terminal that fails and opens another one, which nothing here makes happen.
  void serve_terminal(Domain& domain) {
    const int index = std::exchange(domain.terminal_index, -1);
    if (index < 0) return;
    const short events = poll_set_[static_cast<size_t>(index)].revents;
    if ((events & POLLIN) != 0) {
      char ignored[80];
      static_cast<void>(!read(domain.terminal_fd, ignored, sizeof ignored));
    }
    if ((events & POLLOUT) == 0) return;
    const ssize_t size = write(domain.terminal_fd, domain.buffer.unwritten(), domain.buffer.unwritten_size());
    if (size > 0) domain.buffer.written(static_cast<size_t>(size));
  }

  void serve_ring(Domain& domain) {
    const int index = std::exchange(domain.event_index, -1);
    if (index < 0 || (poll_set_[static_cast<size_t>(index)].revents & POLLIN) == 0) return;
    uint64_t events = 0;
    if (read(domain.event_fd, &events, sizeof events) != sizeof events) return;
    ++domain.events;
    take(domain);
    if (domain.events < kAllowance) unmask();
  }

  void take(Domain& domain) {
    xencons_interface& ring = *domain.ring;
    const XENCONS_RING_IDX produced = std::atomic_ref(ring.out_prod).load();
    const uint32_t size = produced - ring.out_cons;
    if (size == 0 || size > sizeof ring.out) return;
    char text[sizeof ring.out];
    for (uint32_t i = 0; i < size; ++i) text[i] = ring.out[MASK_XENCONS_IDX(ring.out_cons + i, ring.out)];
    domain.buffer.append(text, size);
    std::atomic_ref(ring.out_cons).store(produced);
    const uint64_t one = 1;
    require(write(world_.guests_fd, &one, sizeof one) == sizeof one, "guests can be notified");
    require(write(domain.log_fd, text, size) == static_cast<ssize_t>(size), "the log can be written");
    domain.buffer.discard_overflow();
  }

  // A write to /dev/xen/evtchn.
  void unmask() { require(write(nowhere_, "port", 4) == 4, "a channel can be unmasked"); }

  void serve_command() {
    uint32_t count = 0;
    const ssize_t size = recv(world_.commands_fd, &count, sizeof count, 0);
    if (size == 0) _exit(0);
    require(size == sizeof count, "a command is whole");
    for (; consoles_ < count && add_domain(consoles_); ++consoles_) {
    }
    require(send(world_.commands_fd, &consoles_, sizeof consoles_, 0) == sizeof consoles_, "an answer can be sent");
  }

  // False: there is no pty.
  bool add_domain(uint32_t number) {
    auto* domain = new Domain;
    ModelConsole& console = world_.pages[number].console;
    termios settings{};
    if (openpty(&domain->terminal_fd, &domain->slave_fd, nullptr, nullptr, nullptr) != 0) {
      delete domain;
      return false;
    }
    tcgetattr(domain->slave_fd, &settings);
    cfmakeraw(&settings);
    tcsetattr(domain->slave_fd, TCSANOW, &settings);
    fcntl(domain->terminal_fd, F_SETFL, O_NONBLOCK);
    require(ptsname_r(domain->terminal_fd, console.terminal, sizeof console.terminal) == 0, "a pty has a name");
    domain->log_fd =
        open(fmt::format("{}/{}.log", world_.directory, number).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    require(domain->log_fd >= 0, "a log can be opened");
    domain->ring = &console.ring;
    domain->event_fd = world_.event_fds[number];
    domain->period_end_ms = now_ms() + kPeriodMs;
    domain->next = first_;
    first_ = domain;
    return true;
  }

  const ModelWorld& world_;
  const int nowhere_;
  Domain* first_ = nullptr;
  uint32_t consoles_ = 0;
  std::vector<pollfd> poll_set_;
};

}  // namespace

void run_xenconsoled_model(const ModelWorld& world) {
  Model(world).run();
  _exit(0);
}

}  // namespace xenopolis::bench
