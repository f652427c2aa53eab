// The console daemon without its sockets: which consoles there are, and whose turn it is.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "console/log_files.h"
#include "console/ring.h"

namespace xenopolis::console {

struct AttachedConsole {
  xencons_interface* page = nullptr;  // mapped until detach()
  Port port = 0;                      // Dom0's end
};

// Where rings come from: the machine, or a test.
class DomainLink {
 public:
  virtual ~DomainLink() = default;
  // Maps the frame and binds the domain's port. EINVAL: no such frame; what EVTCHNOP_bind_interdomain answers.
  virtual Result<AttachedConsole> attach(DomId domid, Gfn console_gfn, Port remote_port) = 0;
  // Tells the guest that its ring has room again.
  virtual void notify(Port port) = 0;
  virtual void detach(Port port) = 0;
};

// Belongs to one thread. Work follows activity: an event queues its console, a turn serves one; consoles that are
// silent cost nothing but memory.
class Server {
 public:
  // What one console may write in a turn before the others have theirs.
  static constexpr size_t kTurnBytes = 64 * 1024;

  // Both must outlive the server.
  Server(DomainLink& link, LogFiles& logs);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The ring is looked at in the next turn: the guest may have written, and sent its event, before there was anybody to
  // hear it. EEXIST, EINVAL (a name that is no file name), and what the link answers.
  Status attach(DomId domid, Gfn console_gfn, Port remote_port, const std::string& name);
  // Takes what is left in the ring. Does nothing when the domain has no console here.
  void detach(DomId domid);

  // The channel was notified. Constant time.
  void on_event(Port port);

  bool has_work() const { return !ready_.empty(); }
  // A turn for every console that is queued now; those that are not done are queued again.
  void run_turns();

  size_t consoles() const { return consoles_.size(); }
  uint64_t bytes_logged() const { return bytes_logged_; }

 private:
  struct Console {
    DomId domid;
    Port port;
    std::string name;
    OutputRing ring;
    bool queued = false;
    bool complained = false;  // about its indices, once
  };

  void queue(Console& console);
  void serve(Console& console);
  void complain(Console& console);

  DomainLink& link_;
  LogFiles& logs_;
  std::unordered_map<DomId, std::unique_ptr<Console>> consoles_;
  std::unordered_map<Port, Console*> by_port_;
  std::deque<DomId> ready_;  // may name domains that are gone
  std::vector<char> buffer_;
  uint64_t bytes_logged_ = 0;
};

}  // namespace xenopolis::console
