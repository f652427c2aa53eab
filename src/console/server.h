// The console daemon without its sockets: which consoles there are, whose turn it is, and who looks.
#pragma once

#include <boost/intrusive/list.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "console/history.h"
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
  // Maps the ring's page and binds the domain's port, or takes over what a predecessor has bound. EINVAL: no such
  // frame; what EVTCHNOP_bind_interdomain answers.
  virtual Result<AttachedConsole> attach(const ConsoleRequest& request) = 0;
  // Tells the guest that something has changed in its ring.
  virtual void notify(Port port) = 0;
  virtual void detach(Port port) = 0;
};

class Console;

// Somebody who looks at one console, or at all. No viewer is added or removed within on_output().
class Viewer {
 public:
  virtual ~Viewer() = default;
  // The stream has grown.
  virtual void on_output(Console& console) = 0;
  // The guest has taken input: there is room again. Once, after Console::write() took less than it was given.
  virtual void on_room(Console&) {}
  // Its name is another than `before` now.
  virtual void on_rename(Console&, const std::string& /*before*/) {}
  // The console goes; all that its guest has written is in the stream. Afterwards there is no such console.
  virtual void on_end(Console& console) = 0;
};

class Console : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  // Made by Server.
  Console(DomainLink& link, const ConsoleRequest& request, const AttachedConsole& attached, Stream stream,
          XENCONS_RING_IDX consumed);

  ConsoleId id() const { return id_; }
  const std::string& name() const { return name_; }  // of the domain
  const Stream& stream() const { return stream_; }
  Stream& stream() { return stream_; }

  // Gives `input` to the guest, as much as its ring has room for; says how much that was. If that was not all, `viewer`
  // is told when there is room.
  size_t write(std::string_view input, Viewer& viewer);

  // Hears of this console until it is removed. It must outlive that.
  void add_viewer(Viewer& viewer) { viewers_.push_back(&viewer); }
  void remove_viewer(Viewer& viewer);

 private:
  friend class Server;

  DomainLink& link_;
  const ConsoleId id_;
  const ConsoleRequest request_;  // kAttach; the name may have changed since
  const Port port_;
  Stream stream_;
  ConsoleRing ring_;
  std::string name_;
  std::vector<Viewer*> viewers_;
  std::vector<Viewer*> wait_for_room_;  // each once
  // See Server's credit.
  uint32_t credit_;
  uint64_t credited_ns_ = 0;
  bool has_complained_ = false;  // about its indices, once
};

// Belongs to one thread. Work follows activity: an event queues its console, a turn serves one; consoles that are
// silent cost nothing but memory.
//
// Credit: a console may write kCredit bytes at once, and 1 MB/s for ever; within that it is served before all that
// write more, however many those are. Those share what is left, a turn each, kStormBytes in all between two looks for
// others. So a console with credit waits for kStormBytes, and for a turn of each that has credit too.
class Server {
 public:
  static constexpr uint32_t kTurnBytes = 2 * kOutputBytes;
  static constexpr uint32_t kStormBytes = 64 * 1024;
  static constexpr uint32_t kCredit = 64 * 1024;
  static constexpr uint64_t kNsPerCreditedByte = 1'000;

  // `clock`: for credit; `calendar`: nanoseconds since 1970. All must outlive the server.
  Server(DomainLink& link, History& history, const Clock& clock, const Clock& calendar)
      : link_(link), history_(history), clock_(clock), calendar_(calendar) {}
  // Lets go of all rings. Streams stay for a successor.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // kAttach. The ring is looked at in the next turn: the guest may have written, and sent its event, before there was
  // anybody to hear it. Does nothing when just that is attached: a new polisd has asked. EEXIST: another is; EINVAL:
  // the name cannot be a file's; what link and history answer.
  Status attach(const ConsoleRequest& request);
  // Takes what is left in the ring and forgets the console. Does nothing when there is none.
  void detach(ConsoleId id);
  // kRename. Does nothing when there is no such console, or the name cannot be a file's.
  void rename(const ConsoleRequest& request);

  // The channel was notified. Constant time.
  void on_event(Port port);

  bool has_work() const { return !fresh_.empty() || !storming_.empty(); }
  // A turn for each that was queued with credit, and for some of the others.
  void run_turns();

  // Hears of every console that there is or will be. It must outlive the server, or be removed.
  void add_viewer(Viewer& viewer) { viewers_.push_back(&viewer); }
  void remove_viewer(Viewer& viewer);

  // nullptr: no such console.
  Console* find(ConsoleId id);
  Console* find(std::string_view name, uint16_t index);
  template <class Visitor>  // void(Console&)
  void for_each(Visitor&& visit) {
    for (const auto& [key, console] : consoles_) visit(*console);
  }

  size_t consoles() const { return consoles_.size(); }
  uint64_t bytes_taken() const { return bytes_taken_; }

 private:
  using Queue = boost::intrusive::list<Console, boost::intrusive::constant_time_size<false>>;

  static uint32_t key_of(ConsoleId id) { return uint32_t{id.domid} << 16 | id.index; }
  void queue(Console& console);
  uint32_t serve(Console& console);
  void tell_output(Console& console);
  uint32_t take(Console& console);
  void complain(Console& console);

  DomainLink& link_;
  History& history_;
  const Clock& clock_;
  const Clock& calendar_;
  std::unordered_map<uint32_t, std::unique_ptr<Console>> consoles_;
  std::unordered_map<Port, Console*> by_port_;
  std::unordered_map<std::string_view, Console*> by_name_;  // those of index 0
  std::vector<Viewer*> viewers_;
  Queue fresh_, storming_;
  uint64_t now_ms_ = 0;  // of this turn
  uint64_t bytes_taken_ = 0;
};

}  // namespace xenopolis::console
