// The transport of a guest: two rings of bytes in a page that the guest writes as it likes (xenstore-ring.txt).
#pragma once

#include <cstdint>
#include <memory>

#include "xenstore/connection.h"

namespace xenopolis::xenstore {

// Our end of the event channel that goes with a ring. Destroying it closes the channel.
class RingPort {
 public:
  virtual ~RingPort() = default;
  virtual void notify() = 0;
};

struct AttachedRing {
  xenstore_domain_interface* page = nullptr;  // valid until the port is destroyed
  std::unique_ptr<RingPort> port;
};

class RingTransport final : public Transport {
 public:
  // Takes the indices as they are: the guest may have written requests before it was introduced.
  RingTransport(RequestHandler& handler, WatchTrie& trie, ReadyList& ready, const Subject& subject, AttachedRing ring);

  // Never destroys itself: a ring that breaks the rules stays silent until the guest asks to reconnect, or leaves.
  bool take_turn() override;

  Connection& connection() { return connection_; }
  // Lets go of page and channel; the domain stays silent until it gets others.
  void detach();
  // Another page and channel for the same domain, which starts anew with empty rings.
  void reattach(AttachedRing ring);

 private:
  void take_indices();
  void restart_ring();
  void close(uint32_t reason);
  bool pull();
  bool push();

  AttachedRing ring_;  // none while detached
  // Our two of the four indices are never read back from the page.
  uint32_t request_consumer_ = 0;
  uint32_t response_producer_ = 0;
  bool is_closed_ = false;
  Connection connection_;
};

}  // namespace xenopolis::xenstore
