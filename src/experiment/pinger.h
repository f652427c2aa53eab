// Dom0's end of the citizens' devices: binds their channels, maps their pages, pings them and takes round trips.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/event_loop.h"
#include "citizen_page.h"
#include "event/consumer.h"
#include "grant/grant_table.h"
#include "toolstack/xenstore_client.h"

namespace xenopolis::experiment {

// A citizen as its frontends have announced it.
struct Citizen {
  struct Device {
    Port local_port = 0;  // in Dom0
    grant_ref_t reference = 0;
    uint64_t pinged_ns = 0;  // 0: no ping under way
  };
  DomId domid = 0;
  Device devices[kCitizenDeviceCount];
  CitizenPage* page = nullptr;
};

class Pinger {
 public:
  // A citizen has said data/state = running and its devices are connected; or why they could not be.
  using Connected = std::function<void(DomId, Status)>;

  static Result<std::unique_ptr<Pinger>> start(EventLoop& loop, event::EventChannels& events,
                                               grant::GrantTables& grants, toolstack::XenstoreClient& xenstore,
                                               Connected connected);
  ~Pinger();

  // Watches the domain's data/state.
  void await(DomId domid);
  // The domain is gone: lets go of its channels.
  void forget(DomId domid);

  // Pings one device unless its last ping is still under way.
  void ping(DomId domid, CitizenDevice device);
  const Citizen* citizen(DomId domid) const;

  const std::vector<double>& round_trips_us() const { return round_trips_us_; }
  uint32_t pings_under_way() const { return pings_under_way_; }
  uint64_t events_served() const { return consumer_.events_served(); }

 private:
  Pinger(EventLoop& loop, event::EventChannels& events, grant::GrantTables& grants, toolstack::XenstoreClient& xenstore,
         Connected connected, event::Consumer consumer);
  void on_watch_event(std::string_view token);
  void read_devices(DomId domid);
  Status connect(DomId domid, const std::vector<uint32_t>& announced);
  void on_event(Port port);

  struct Endpoint {
    DomId domid;
    CitizenDevice device;
  };

  EventLoop& loop_;
  event::EventChannels& events_;
  grant::GrantTables& grants_;
  toolstack::XenstoreClient& xenstore_;
  Connected connected_;
  event::Consumer consumer_;
  std::unordered_map<DomId, Citizen> citizens_;  // connected ones
  std::unordered_map<DomId, bool> awaited_;      // value: its devices are being read
  std::unordered_map<Port, Endpoint> endpoints_;
  std::vector<double> round_trips_us_;
  uint32_t pings_under_way_ = 0;
};

}  // namespace xenopolis::experiment
