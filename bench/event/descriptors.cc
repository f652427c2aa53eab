// What a Linux program would use instead of event channels: a file descriptor per channel, and epoll.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "base/fd.h"
#include "clock.h"
#include "transport.h"

namespace xenopolis::bench {
namespace {

enum class Kind {
  kEventfd,      // level-triggered: each event is read
  kEventfdEdge,  // edge-triggered: never read, each write is an edge
  kPipe,         // level-triggered, one byte an event
};

// What a process needs besides: standard streams, epoll, the socket to its parent.
constexpr uint32_t kOtherDescriptors = 40;

uint64_t kernel_slab_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  for (uint64_t kib = 0; file >> name >> kib; std::getline(file, unit)) {
    if (name == "Slab:") return kib * 1024;
  }
  return 0;
}

class Descriptors final : public Transport {
 public:
  Descriptors(Kind kind, uint32_t channels) : kind_(kind), slab_bytes_(kernel_slab_bytes()) {
    epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    answers_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    require(epoll_ && answers_, "epoll and eventfd are there");
    senders_.resize(channels + 1);
    if (kind == Kind::kPipe) receivers_.resize(channels + 1);
    for (Channel channel = 1; channel <= channels; ++channel) add(channel);
    slab_bytes_ = std::max(kernel_slab_bytes(), slab_bytes_) - slab_bytes_;
  }

  void send(Channel channel) override {
    const uint64_t one = 1;
    const ssize_t size = kind_ == Kind::kPipe ? 1 : sizeof one;
    // A full pipe is as readable as one can be.
    if (write(senders_[channel].get(), &one, static_cast<size_t>(size)) != size && errno != EAGAIN) {
      give_up("writing to channel {} failed: {}", channel, errno);
    }
  }

  void expect_answers() override {}
  bool take_answer(Channel, bool sleep) override {
    pollfd readable{answers_.get(), POLLIN, 0};
    if (sleep) poll(&readable, 1, -1);
    uint64_t count = 0;
    return read(answers_.get(), &count, sizeof count) == sizeof count;
  }

  bool wait(int timeout_ms) override {
    readable_ = std::max(0, epoll_wait(epoll_.get(), events_.data(), kBudget, timeout_ms));
    return readable_ != 0;
  }
  uint32_t serve(const Handler& handler) override {
    std::array<uint64_t, 512> buffer;  // a byte each of a pipe, one word of an eventfd
    for (int index = 0; index < readable_; ++index) {
      const Channel channel = events_[static_cast<size_t>(index)].data.u32;
      if (kind_ != Kind::kEventfdEdge) {
        const int fd = (kind_ == Kind::kPipe ? receivers_ : senders_)[channel].get();
        if (read(fd, buffer.data(), sizeof buffer) <= 0) give_up("reading channel {} failed: {}", channel, errno);
      }
      handler(channel);
    }
    return static_cast<uint32_t>(std::exchange(readable_, 0));
  }
  void answer(Channel) override {
    const uint64_t one = 1;
    require(write(answers_.get(), &one, sizeof one) == sizeof one, "an answer can be written");
  }
  bool make_urgent(Channel) override { return false; }

  nlohmann::json memory() override {
    const auto channels = static_cast<double>(senders_.size() - 1);
    // The kernel's caches grow by slabs: a few channels do not show.
    if (channels < 1000) return nlohmann::json::object();
    return {{"kernel_slab_bytes_per_channel", static_cast<double>(slab_bytes_) / channels}};
  }

 private:
  void add(Channel channel) {
    int fds[2] = {-1, -1};
    if (kind_ == Kind::kPipe) {
      if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) give_up("pipe {}: error {}", channel, errno);
      receivers_[channel] = Fd(fds[0]);
      senders_[channel] = Fd(fds[1]);
    } else {
      fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
      if (fds[0] < 0) give_up("eventfd {}: error {}", channel, errno);
      senders_[channel] = Fd(fds[0]);
    }
    epoll_event event{.events = EPOLLIN, .data = {.u32 = channel}};
    if (kind_ == Kind::kEventfdEdge) event.events |= EPOLLET;
    require(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fds[0], &event) == 0, "epoll takes another descriptor");
  }

  Kind kind_;
  Fd epoll_, answers_;
  std::vector<Fd> senders_, receivers_;  // by channel; an eventfd is both
  std::array<epoll_event, kBudget> events_;
  int readable_ = 0;
  uint64_t slab_bytes_;
};

std::unique_ptr<Transport> make(const Subject& subject, uint32_t channels) {
  use_all_descriptors();
  return std::make_unique<Descriptors>(static_cast<Kind>(subject.detail), channels);
}

}  // namespace

std::vector<Subject> descriptor_subjects() {
  rlimit limit{};
  require(getrlimit(RLIMIT_NOFILE, &limit) == 0, "the limit on descriptors is known");
  const auto most = static_cast<uint32_t>(std::min<uint64_t>(limit.rlim_max, 1u << 20)) - kOtherDescriptors;
  static const std::string end = fmt::format("{} descriptors", limit.rlim_max);
  static const std::string pipe_end = fmt::format("{} descriptors, two a pipe", limit.rlim_max);
  return {
      {"eventfd", "an eventfd a channel, epoll, level-triggered", most, end, make, static_cast<int>(Kind::kEventfd)},
      {"eventfd-et", "an eventfd a channel, epoll, edge-triggered, never read", most, end, make,
       static_cast<int>(Kind::kEventfdEdge)},
      {"pipe", "a pipe a channel, epoll, level-triggered", most / 2, pipe_end, make, static_cast<int>(Kind::kPipe)},
  };
}

}  // namespace xenopolis::bench
