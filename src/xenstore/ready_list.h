// Who has something to do: a request costs nothing for connections that have not.
#pragma once

#include <boost/intrusive/list.hpp>

namespace xenopolis::xenstore {

class Journal;

// Something that moves bytes between a connection and its client, one bounded turn at a time. Leaves the list by itself
// when destroyed.
class Transport : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  virtual ~Transport() = default;

  // A bounded amount of work. True: there is more to do at once. May destroy itself and then answers false.
  virtual bool take_turn() = 0;

  // Adds to the journal's batch what must survive of the request that has just been handled: the reply. Nothing if the
  // client does not survive a restart of the daemon.
  virtual void add_progress(Journal&) {}
};

class ReadyList {
 public:
  void push(Transport& transport) {
    if (!transport.is_linked()) ready_.push_back(transport);
  }
  bool empty() const { return ready_.empty(); }

  // One turn for each that is ready now; those that become ready meanwhile wait for the next call.
  void run_once() {
    List now;
    now.swap(ready_);
    while (!now.empty()) {
      Transport& transport = now.front();
      now.pop_front();
      if (transport.take_turn()) push(transport);
    }
  }

 private:
  using List = boost::intrusive::list<Transport, boost::intrusive::constant_time_size<false>>;
  List ready_;
};

}  // namespace xenopolis::xenstore
