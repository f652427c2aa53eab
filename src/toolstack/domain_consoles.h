// The consoles of domains: what xenstore says of them, who has them, and terminals for clients that ask for one.
//
// As libxl has it, /local/domain/N/console describes the first, and further ones are devices: a frontend's directory
// /local/domain/N/device/console/M and a backend's /local/domain/0/backend/console/N/M, with xenbus states. The
// frontend says ring-ref and port, then state Initialised or Connected; the backend attaches and becomes Connected.
//
// A client (xenconsole) watches "tty" in a console's directory and waits a few seconds for a terminal's name to stand
// there. "@clientWatch" tells of that, and the terminal is made then; the name is taken away when nobody has it open.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "toolstack/console_link.h"
#include "toolstack/xenstore_client.h"

namespace xenopolis::toolstack {

// What a domain has beside its first: the digit that Linux' frontend can read.
inline constexpr uint32_t kMaxFurtherConsoles = 9;

struct ConsoleDescription {
  DomId domid = 0;
  std::string name;  // of the domain
  Gfn gfn = 0;       // of the first console's ring
  Port port = 0;     // of the first console
  uint32_t further = 0;
  uint64_t incarnation = 0;  // as in domain::DomainRecord
};

class DomainConsoles {
 public:
  using Done = std::function<void(Status)>;

  // Takes the client's watch events.
  DomainConsoles(XenstoreClient& xenstore, ConsoleLink& link);

  // Writes the entries of all its consoles and attaches the first; after the domain's own directory was made and before
  // it is introduced. Calls back when polis-consoled has it.
  void add(const ConsoleDescription& description, Done attached);
  // The same for a domain that a polisd before this one has added.
  void adopt(const ConsoleDescription& description);
  // For one of which it is not known how much of add() or remove() has been done: remove() does all of it.
  void assume(const ConsoleDescription& description);
  void rename(DomId domid, const std::string& name);
  // Calls back when polis-consoled has none of the domain's consoles, and who has a terminal of one open has read what
  // the guest has written, or has had a moment for it.
  void remove(DomId domid, Done removed);

  void on_watch_event(std::string_view path);

  // For audits: which domains have consoles, from add() to remove().
  template <class Visitor>  // void(DomId)
  void for_each(Visitor visit) const {
    for (const auto& [domid, domain] : domains_) visit(domid);
  }

 private:
  // A further one.
  struct Device {
    bool is_busy = false;  // a look is under way
    bool again = false;    // its frontend has changed meanwhile
    bool is_attached = false;
    bool is_asked_for = false;  // somebody waits for a terminal of it
    grant_ref_t grant = 0;      // of what is attached
    Port port = 0;
    int backend_state = 0;
  };
  struct Domain {
    std::string name;
    uint64_t incarnation;
    std::vector<Device> devices;  // number M is at M - 1
  };
  // What a frontend says; empty: nothing.
  struct Frontend {
    std::string state, ring_ref, port;
  };

  void write_console(const ConsoleDescription& description);
  void write_device(DomId domid, uint32_t index, Device& device);
  void look(DomId domid, uint32_t index);
  void follow(DomId domid, uint32_t index, const Frontend& frontend);
  void attach_device(DomId domid, uint32_t index, grant_ref_t grant, Port port);
  void detach_device(DomId domid, uint32_t index, std::function<void()> then);
  void looked(DomId domid, uint32_t index);
  void set_backend_state(DomId domid, uint32_t index, int state);
  void on_terminal(console::ConsoleId id, const std::string& path);
  Domain& enter(const ConsoleDescription& description);
  void attach_first(const ConsoleDescription& description, Done attached);
  Device* find(DomId domid, uint32_t index, uint64_t incarnation);
  uint64_t incarnation_of(DomId domid) const { return domains_.at(domid).incarnation; }

  XenstoreClient& xenstore_;
  ConsoleLink& link_;
  std::unordered_map<DomId, Domain> domains_;
};

}  // namespace xenopolis::toolstack
