#include "experiment/pinger.h"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <charconv>

#include "base/clock.h"
#include "machine/layout.h"
#include "machine/statistics.h"

namespace xenopolis::experiment {
namespace {

constexpr VcpuId kPingerVcpu = 2;  // 0 is polis-xenstored's, 1 polis-consoled's

// What a citizen announces, in the order in which connect() takes it.
constexpr const char* kAnnounced[] = {"device/vif/0/event-channel", "device/vif/0/ring-ref",
                                      "device/vbd/0/event-channel", "device/vbd/0/ring-ref"};

std::string home_of(DomId domid) {
  return fmt::format("/local/domain/{}/", domid);
}

template <class Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Pinger::Pinger(EventLoop& loop, event::EventChannels& events, grant::GrantTables& grants,
               toolstack::XenstoreClient& xenstore, Connected connected, event::Consumer consumer)
    : loop_(loop),
      events_(events),
      grants_(grants),
      xenstore_(xenstore),
      connected_(std::move(connected)),
      consumer_(std::move(consumer)) {}

Pinger::~Pinger() {
  machine::my_statistics = nullptr;
  loop_.remove(consumer_.fd());
}

Result<std::unique_ptr<Pinger>> Pinger::start(EventLoop& loop, event::EventChannels& events, grant::GrantTables& grants,
                                              toolstack::XenstoreClient& xenstore, Connected connected) {
  event::Consumer consumer = TRY(event::Consumer::attach(events, kPingerVcpu));
  std::unique_ptr<Pinger> pinger(new Pinger(loop, events, grants, xenstore, std::move(connected), std::move(consumer)));
  Pinger* self = pinger.get();
  machine::my_statistics = &machine::statistics_of(machine::dom0_doorbell(kPingerVcpu));
  xenstore.on_watch_event([self](std::string_view, std::string_view token) { self->on_watch_event(token); });
  TRY_VOID(loop.add(self->consumer_.fd(), EPOLLIN,
                    [self](uint32_t) { self->consumer_.drain([self](Port port) { self->on_event(port); }); }));
  return pinger;
}

void Pinger::await(DomId domid) {
  awaited_[domid] = false;
  // Fires at once, and whenever the node changes.
  xenstore_.watch(home_of(domid) + "data/state", std::to_string(domid));
}

void Pinger::on_watch_event(std::string_view token) {
  DomId domid = 0;
  if (!parse(token, domid)) return;
  const auto awaited = awaited_.find(domid);
  if (awaited == awaited_.end() || awaited->second) return;
  xenstore_.read(home_of(domid) + "data/state", [this, domid](const Result<std::string>& state) {
    if (!state || *state != "running") return;
    const auto still = awaited_.find(domid);
    if (still == awaited_.end() || still->second) return;
    still->second = true;
    read_devices(domid);
  });
}

void Pinger::read_devices(DomId domid) {
  auto announced = std::make_shared<std::vector<uint32_t>>();
  for (const char* node : kAnnounced) {
    // The daemon answers in order, so the last answer comes last.
    xenstore_.read(home_of(domid) + node, [this, domid, announced](const Result<std::string>& value) {
      uint32_t number = 0;
      announced->push_back(value && parse(*value, number) ? number : 0);
      if (announced->size() != std::size(kAnnounced) || awaited_.erase(domid) == 0) return;
      xenstore_.unwatch(home_of(domid) + "data/state", std::to_string(domid));
      connected_(domid, connect(domid, *announced));
    });
  }
}

Status Pinger::connect(DomId domid, const std::vector<uint32_t>& announced) {
  Citizen citizen;
  citizen.domid = domid;
  for (uint32_t device = 0; device < kCitizenDeviceCount; ++device) {
    const Port remote_port = announced[2 * device];
    citizen.devices[device].reference = announced[2 * device + 1];
    const auto port = consumer_.bind_interdomain(domid, remote_port);
    if (!port) {
      for (uint32_t bound = 0; bound < device; ++bound) {
        endpoints_.erase(citizen.devices[bound].local_port);
        (void)consumer_.close(citizen.devices[bound].local_port);
      }
      return fail(static_cast<int>(port.error()),
                  fmt::format("EVTCHNOP_bind_interdomain to port {} of domain {}, with {} channels open in Dom0",
                              remote_port, domid, events_.counters(kDom0).open_ports));
    }
    citizen.devices[device].local_port = *port;
    endpoints_[*port] = Endpoint{domid, static_cast<CitizenDevice>(device)};
  }
  void* page = nullptr;
  const int16_t mapped = grants_.map(kDom0, domid, citizen.devices[kCitizenVif].reference, /*read_only=*/true, &page);
  if (mapped != GNTST_okay) return fail(EINVAL, fmt::format("mapping the page of domain {}: GNTST {}", domid, mapped));
  citizen.page = static_cast<CitizenPage*>(page);
  if (citizen.page->magic != kCitizenMagic || citizen.page->version != kCitizenVersion) {
    return fail(EPROTO, fmt::format("domain {} shares something that is no citizen's page", domid));
  }
  citizens_.emplace(domid, citizen);
  return {};
}

void Pinger::forget(DomId domid) {
  awaited_.erase(domid);
  const auto found = citizens_.find(domid);
  if (found == citizens_.end()) return;
  for (const Citizen::Device& device : found->second.devices) {
    endpoints_.erase(device.local_port);
    (void)consumer_.close(device.local_port);
    if (device.pinged_ns != 0) --pings_under_way_;
  }
  grants_.unmap(kDom0, domid, found->second.devices[kCitizenVif].reference, /*read_only=*/true);
  citizens_.erase(found);
}

const Citizen* Pinger::citizen(DomId domid) const {
  const auto found = citizens_.find(domid);
  return found == citizens_.end() ? nullptr : &found->second;
}

void Pinger::ping(DomId domid, CitizenDevice device) {
  const auto found = citizens_.find(domid);
  if (found == citizens_.end() || found->second.devices[device].pinged_ns != 0) return;
  Citizen::Device& pinged = found->second.devices[device];
  pinged.pinged_ns = MonotonicClock().now_ns();
  ++pings_under_way_;
  if (!consumer_.send(pinged.local_port)) {
    pinged.pinged_ns = 0;
    --pings_under_way_;
  }
}

void Pinger::on_event(Port port) {
  const auto endpoint = endpoints_.find(port);
  if (endpoint == endpoints_.end()) return;
  const auto citizen = citizens_.find(endpoint->second.domid);
  if (citizen == citizens_.end()) return;
  Citizen::Device& device = citizen->second.devices[endpoint->second.device];
  if (device.pinged_ns == 0) return;  // it spoke without being asked
  round_trips_us_.push_back(static_cast<double>(MonotonicClock().now_ns() - device.pinged_ns) / 1e3);
  device.pinged_ns = 0;
  --pings_under_way_;
}

}  // namespace xenopolis::experiment
