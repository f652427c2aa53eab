// Event channels between guests and Dom0 on a real machine. Dom0 speaks the ABI that is measured. The guests, who only
// send and now and then get an answer, speak 2-level.
#include <sys/epoll.h>

#include <algorithm>
#include <atomic>
#include <bit>

#include "base/fd.h"
#include "clock.h"
#include "event/consumer.h"
#include "event/port_table.h"
#include "machine/domain_memory.h"
#include "transport.h"

namespace xenopolis::bench {
namespace {

// Channels of one guest: fewer than a 2-level domain may have.
constexpr uint32_t kChannelsPerGuest = 4000;
constexpr VcpuId kDom0Vcpu = 0;
// The cell's doorbell on which the guest that waits for answers sleeps.
constexpr machine::DoorbellId kGuestBell = 0;

class XenChannels final : public Transport {
 public:
  XenChannels(event::Abi abi, uint32_t channels)
      : machine_(machine::Machine::create(machine_size(channels)).value()),
        events_(machine_),
        pages_at_first_(machine_.frames().used_pages()),
        endpoints_(channels + 1) {
    require(event::create_dom0(events_, abi).has_value(), "Dom0 can be created");
    consumer_.emplace(event::Consumer::attach(events_, kDom0Vcpu).value());
    for (Channel channel = 1; channel <= channels; ++channel) {
      // The last channel has a guest of its own, whom the others may disturb.
      const bool first_of_guest = (channel - 1) % kChannelsPerGuest == 0 || channel == channels;
      if (first_of_guest) add_guest(++guests_);
      const Port offered = events_.alloc_unbound(guests_, guests_, kDom0).value();
      const Port port = consumer_->bind_interdomain(guests_, offered).value();
      require(port == channel, "Dom0's ports are numbered in the order of binding");
      endpoints_[channel] = {guests_, offered};
    }
    epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    epoll_event readable{.events = EPOLLIN, .data = {}};
    require(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, consumer_->fd(), &readable) == 0,
            "Dom0's eventfd can be waited for");
    // Binding leaves one event at the binder.
    uint32_t served = 0;
    while (wait(0)) served += serve([](Channel) {});
    require(served == channels, "each binding is served once");
  }

  void send(Channel channel) override {
    const Endpoint& from = endpoints_[channel];
    if (!events_.send(from.domid, from.port)) give_up("sending on channel {} failed", channel);
  }

  void expect_answers() override { machine_.doorbells().adopt(kGuestBell); }

  bool take_answer(Channel channel, bool sleep) override {
    const auto [domid, port] = endpoints_[channel];
    vcpu_info& info = *events_.info_of(domid, 0);
    std::atomic_ref upcall(info.evtchn_upcall_pending);
    if (sleep && !machine_.doorbells().has_marks(kGuestBell)) machine_.doorbells().sleep(kGuestBell, std::nullopt);
    if (upcall.load(std::memory_order_relaxed) == 0) return false;
    machine_.doorbells().take(kGuestBell);
    upcall.exchange(0);
    shared_info& shared = *event::channels_of(domid).shared;
    bool answered = false;
    xen_ulong_t selector = std::atomic_ref(info.evtchn_pending_sel).exchange(0);
    for (; selector != 0; selector &= selector - 1) {
      const auto word = static_cast<unsigned>(std::countr_zero(selector));
      const xen_ulong_t bits = std::atomic_ref(shared.evtchn_pending[word]).exchange(0);
      answered |= word == port / 64 && (bits >> port % 64 & 1) != 0;
    }
    return answered;
  }

  bool wait(int timeout_ms) override {
    epoll_event event;
    return epoll_wait(epoll_.get(), &event, 1, timeout_ms) == 1;
  }
  uint32_t serve(const Handler& handler) override { return consumer_->drain(handler, kBudget); }
  void answer(Channel channel) override { require(consumer_->send(channel).has_value(), "Dom0 can answer"); }

  bool make_urgent(Channel channel) override {
    return events_.set_priority(kDom0, channel, EVTCHN_FIFO_PRIORITY_MAX).has_value();
  }
  void make_ordinary(Channel channel) override {
    require(events_.set_priority(kDom0, channel, EVTCHN_FIFO_PRIORITY_DEFAULT).has_value(), "priorities can be set");
  }
  bool ring_for_nothing() override {
    const uint64_t one = 1;
    return write(consumer_->fd(), &one, sizeof one) == sizeof one;
  }

  nlohmann::json memory() override {
    uint64_t dom0_tables = port_table_pages(kDom0), guest_tables = 0;
    for (DomId domid = 1; domid <= guests_; ++domid) guest_tables += port_table_pages(domid);
    // What Dom0 shares with the hypervisor comes out of the same zone: the rest.
    const uint64_t shared = machine_.frames().used_pages() - pages_at_first_ - dom0_tables - guest_tables;
    const auto channels = static_cast<double>(endpoints_.size() - 1);
    const auto each = [&](uint64_t pages) { return static_cast<double>(pages * kPageSize) / channels; };
    return {{"dom0_shared_bytes", shared * kPageSize},
            {"dom0_shared_bytes_per_channel", each(shared)},
            {"hypervisor_bytes_per_channel", each(dom0_tables + guest_tables)},
            {"hypervisor_bytes_per_channel_dom0_end", each(dom0_tables)},
            {"hypervisor_bytes_per_channel_guest_end", each(guest_tables)},
            {"hypervisor_fixed_bytes_per_domain", machine::kEventStride}};
  }

 private:
  struct Endpoint {
    DomId domid;
    Port port;
  };

  static uint64_t machine_size(uint32_t channels) {
    const uint64_t guests = channels / kChannelsPerGuest + 2;
    return machine::kMinMachineSize + guests * machine::kChunkSize / machine::kGiB * machine::kGiB + machine::kGiB;
  }

  void add_guest(DomId domid) {
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine_.frames().allocate_extent(2).value();
    memory.ram_pages = 1;
    event::DomainConfig config;
    config.offered_abi = event::Abi::kTwoLevel;
    config.shared_info = memory.page(1);
    require(events_.create_domain(domid, config).has_value(), "a guest can be created");
    events_.set_doorbell(domid, 0, kGuestBell, domid % machine::kVcpusPerDoorbell);
  }

  static uint64_t port_table_pages(DomId domid) {
    const event::PortRoot* root = event::channels_of(domid).root.load();
    if (root == nullptr) return 0;
    return 1 + static_cast<uint64_t>(
                   std::ranges::count_if(root->buckets, [](const auto& bucket) { return bucket.load() != nullptr; }));
  }

  machine::Machine machine_;
  event::EventChannels events_;
  uint64_t pages_at_first_;
  std::optional<event::Consumer> consumer_;
  Fd epoll_;
  DomId guests_ = 0;
  std::vector<Endpoint> endpoints_;  // by channel
};

std::unique_ptr<Transport> make(const Subject& subject, uint32_t channels) {
  return std::make_unique<XenChannels>(static_cast<event::Abi>(subject.detail), channels);
}

Subject subject(std::string_view name, std::string_view description, event::Abi abi, uint32_t ports) {
  return {name, description, ports - 1, "port numbers", make, static_cast<int>(abi)};
}

}  // namespace

std::vector<Subject> event_channel_subjects() {
  return {
      subject("2l", "event channels, 2-level", event::Abi::kTwoLevel, event::kTwoLevelPorts),
      subject("3l", "event channels, 3-level", event::Abi::kThreeLevel, event::kThreeLevelPorts),
      subject("fifo", "event channels, FIFO", event::Abi::kFifo, event::kFifoPorts),
  };
}

}  // namespace xenopolis::bench
