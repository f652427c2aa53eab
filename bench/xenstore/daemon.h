// A xenstore daemon under test: how it is started, how its guests are reached, what it uses.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/process_usage.h"
#include "xen_abi/xen.h"

namespace xenopolis::bench {

// Runs from construction to destruction.
class Daemon {
 public:
  virtual ~Daemon() = default;

  const std::string& socket_path() const { return socket_path_; }
  pid_t pid() const { return pid_; }
  uint64_t cpu_ns() const { return cpu_ns_of(pid_); }
  Memory memory() const { return memory_of(pid_, machine_file_); }

  // --- guests; only where the kind has them

  // Gives the domain a ring of zeros and an event channel. It is not introduced yet.
  virtual void add_guest(DomId domid) = 0;
  // The ring's page and port, as INTRODUCE wants them.
  virtual Gfn ring_gfn() const = 0;
  virtual Port ring_port(DomId domid) const = 0;
  virtual xenstore_domain_interface& ring(DomId domid) = 0;
  // The guest's event to the daemon.
  virtual void notify(DomId domid) = 0;
  // Sleeps until the daemon's event to the guest; may return early. False after kPatienceMs.
  virtual bool wait(DomId domid) = 0;

 protected:
  Daemon() = default;
  // Waits until the daemon answers a request.
  void wait_until_it_serves() const;

  std::string socket_path_;
  pid_t pid_ = 0;
  std::string machine_file_;  // what guests and hypervisor share with it, as /proc/PID/smaps names it
};

// What can be measured.
struct Kind {
  std::string name;         // "ours"
  std::string description;  // version and command line
  bool has_guests;
  // `directory` exists, is empty, and is the daemon's own.
  std::unique_ptr<Daemon> (*start)(const Kind& kind, const std::string& directory);
  std::string program;  // of the daemon; for a daemon that runs already, its socket
};

// polis-xenstored in a machine of its own, as polisd starts it.
Kind our_kind(const std::string& program);
// The C daemon in a world of files and fifos (preload/). Nothing when `program` is not there.
std::optional<Kind> c_kind(const std::string& program);
// Whatever listens there: requests only, no guests.
Kind running_kind(const std::string& socket_path);

}  // namespace xenopolis::bench
