// Domains: creating one more, what their rings cost, and the memory that they take.
#include <ctime>
#include <optional>

#include "domain_nodes.h"
#include "guest.h"
#include "library_client.h"
#include "scene.h"

namespace xenopolis::bench {
namespace {

// INTRODUCE requests on the way.
constexpr size_t kIntroductionsInFlight = 32;
// Creating takes a while in some daemons, and removing more.
constexpr unsigned kMostCreations = 50;
// With 10,000 domains the C daemon takes more than a millisecond for one SET_PERMS, of which a domain has 20.
constexpr size_t kMostWithAllRights = 3'000;
// Nobody asks for anything, before the memory of a daemon at rest is read.
constexpr timespec kQuiet{4, 0};

class GuestsScene final : public Scene {
 public:
  GuestsScene(Daemon& daemon, uint32_t guests) : daemon_(daemon), raw_(daemon.socket_path()) {
    for (uint32_t domid = 1; domid <= guests; ++domid) guests_.emplace_back(daemon, static_cast<DomId>(domid));
    spare_ = static_cast<DomId>(guests + 1);
    const uint64_t begin = now_ns();
    write_nodes();
    nodes_written_s_ = static_cast<double>(now_ns() - begin) / 1e9;
    introduce();
    introduced_s_ = static_cast<double>(now_ns() - begin) / 1e9 - nodes_written_s_;
    daemon_.add_guest(spare_);
    active_ = daemon_.memory();
  }

  Figures measure(std::string_view measurement, double seconds) override {
    Figures figures;
    if (measurement == "memory") {
      if (!at_rest_) {
        nanosleep(&kQuiet, nullptr);
        at_rest_ = daemon_.memory();
      }
      const Memory& memory = *at_rest_;
      figures["resident_bytes"] = memory.resident_bytes;
      figures["anonymous_bytes"] = memory.anonymous_bytes;
      figures["machine_bytes"] = memory.machine_bytes;
      figures["own_bytes"] = memory.resident_bytes - memory.machine_bytes;
      figures["page_table_bytes"] = memory.page_table_bytes;
      figures["active_resident_bytes"] = active_.resident_bytes;
      figures["active_machine_bytes"] = active_.machine_bytes;
      figures["active_page_table_bytes"] = active_.page_table_bytes;
      figures["nodes_written_s"] = nodes_written_s_;
      figures["introduced_s"] = introduced_s_;
    } else if (measurement == "create") {
      create(figures, seconds);
    } else if (!guests_.empty()) {
      rings(figures, seconds);
    }
    return figures;
  }

 private:
  // Of very many guests only those nodes get their own rights that a measurement needs.
  bool gets_rights(DomId domid, const NodeRequest& request) const {
    if (request.type != XS_SET_PERMS) return false;
    return guests_.size() <= kMostWithAllRights || request.path == home_of(domid) ||
           request.path == home_of(domid) + "/control/shutdown";
  }

  // In the order that is cheapest for the C daemon, whose requests cost more the more domains it has heard of: first
  // the nodes, then their rights, which name the domains, and the introductions last.
  void write_nodes() {
    for (const bool rights : {false, true}) {
      std::vector<std::string> requests;
      for (const Guest& guest : guests_) {
        for (const auto& list : {requests_in_transaction(guest.domid()), requests_after_transaction(guest.domid())}) {
          for (const NodeRequest& request : list) {
            const bool wanted =
                rights ? gets_rights(guest.domid(), request) : request.type != XS_RM && request.type != XS_SET_PERMS;
            if (wanted) requests.push_back(to_message(request));
          }
        }
        if (requests.size() < 10'000 && &guest != &guests_.back()) continue;
        raw_.pipeline(requests);
        requests.clear();
      }
    }
  }

  // Each guest watches what tells it to shut down, as guests do, as soon as it can.
  void introduce() {
    const std::string watch = message(XS_WATCH, terminated("control/shutdown") + terminated("token"));
    size_t sent = 0, done = 0;
    while (done < guests_.size()) {
      for (; sent < guests_.size() && sent < done + kIntroductionsInFlight; ++sent) {
        const DomId domid = guests_[sent].domid();
        daemon_.add_guest(domid);
        raw_.send(message(XS_INTRODUCE, terminated(std::to_string(domid)) +
                                            terminated(std::to_string(daemon_.ring_gfn())) +
                                            terminated(std::to_string(daemon_.ring_port(domid)))));
      }
      raw_.receive_replies(1);
      guests_[done++].send(watch);
    }
    for (Guest& guest : guests_) {
      // The reply and the first event, in either order.
      for (int i = 0; i < 2; ++i) require(guest.receive().header.type != XS_ERROR, "a guest may set a watch");
    }
  }

  // What the tool does from the first request to the last, and taking the domain away again.
  void create(Figures& figures, double seconds) {
    const auto in_transaction = requests_in_transaction(spare_), afterwards = requests_after_transaction(spare_);
    std::vector<uint64_t> creations, removals;
    uint64_t cpu = 0;
    const uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    while (creations.empty() || (now_ns() < end && creations.size() < kMostCreations)) {
      const uint64_t begin = now_ns(), cpu_before = daemon_.cpu_ns();
      const xs_transaction_t transaction = library_.begin();
      for (const NodeRequest& request : in_transaction) library_.perform(request, transaction);
      require(library_.commit(transaction), "a transaction alone meets no conflict");
      for (const NodeRequest& request : afterwards) library_.perform(request);
      library_.done(xs_introduce_domain(library_.get(), spare_, daemon_.ring_gfn(), daemon_.ring_port(spare_)),
                    "introduce", home_of(spare_));
      const uint64_t created = now_ns();
      cpu += daemon_.cpu_ns() - cpu_before;
      for (const NodeRequest& request : requests_of_removal(spare_)) library_.perform(request);
      library_.done(xs_release_domain(library_.get(), spare_), "release", home_of(spare_));
      creations.push_back(created - begin);
      removals.push_back(now_ns() - created);
    }
    figures["create_daemon_cpu_ns"] = static_cast<double>(cpu) / static_cast<double>(creations.size());
    figures["create_ns"] = std::move(creations);
    figures["remove_ns"] = std::move(removals);
    figures["create_requests"] = in_transaction.size() + afterwards.size() + 3;  // start, end, INTRODUCE
  }

  // One guest after the other, far apart, so that no daemon lives on what its caches hold of one.
  Guest& next_guest() {
    constexpr size_t kStride = 7'919;  // prime
    at_ = (at_ + kStride) % guests_.size();
    return guests_[at_];
  }

  void rings(Figures& figures, double seconds) {
    const std::string read = message(XS_READ, terminated("control/shutdown"));
    sample(figures, daemon_.pid(), "guest_read", seconds, [&] {
      Guest& guest = next_guest();
      guest.send(read);
      require(guest.receive().header.type == XS_READ, "a guest may read what is its own");
    });
    // From the request of Dom0 to the event in the guest.
    sample(figures, daemon_.pid(), "guest_watch", seconds, [&] {
      Guest& guest = next_guest();
      raw_.send(message(XS_WRITE, terminated(home_of(guest.domid()) + "/control/shutdown")));
      require(guest.receive().header.type == XS_WATCH_EVENT, "a guest's watch fires");
      raw_.receive_replies(1);
    });
  }

  Daemon& daemon_;
  RawClient raw_;
  LibraryClient library_;
  std::vector<Guest> guests_;
  DomId spare_ = 0;
  Memory active_;                                  // when the last guest has set its watch
  std::optional<Memory> at_rest_;                  // with all that was measured before
  double nodes_written_s_ = 0, introduced_s_ = 0;  // what setting up took
  size_t at_ = 0;
};

}  // namespace

std::unique_ptr<Scene> make_guests_scene(Daemon& daemon, uint32_t at, DaemonCpus) {
  return std::make_unique<GuestsScene>(daemon, at);
}

}  // namespace xenopolis::bench
