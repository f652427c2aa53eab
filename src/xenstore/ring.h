// The transport of a guest: two rings of bytes in a page that the guest writes as it likes (xenstore-ring.txt).
#pragma once

#include <cstdint>
#include <memory>

#include "xenstore/connection.h"
#include "xenstore/journal.h"
#include "xenstore/ring_progress.h"
#include "xenstore/work.h"

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
  uint32_t features = kServerFeatures;  // what the guest may use: bits of kServerFeatures
};

class RingTransport final : public Transport {
 public:
  // Detached. With a `journal` the ring survives this process.
  RingTransport(RequestHandler& handler, WatchTrie& trie, ReadyList& ready, const Subject& subject, Journal* journal);

  // Never destroys itself: a ring that breaks the rules stays silent until the guest asks to reconnect, or leaves.
  bool take_turn() override;
  void add_progress(Journal& journal) override;

  Connection& connection() { return connection_; }
  const Connection& connection() const { return connection_; }
  // The domain's first page and channel. Takes the indices as they are: the guest may have written requests before it
  // was introduced. start() follows.
  void attach(AttachedRing ring);
  // Lets go of page and channel; the domain stays silent until it gets others.
  void detach();
  // Another page and channel for the same domain, which starts anew with empty rings: in start(), which follows.
  void reattach(AttachedRing ring);
  // When the journal knows page and channel, so that the next daemon would do it as well.
  void start();
  // The page and channel of a predecessor, who stopped where the journal says: in its last record, if there is one, and
  // its word.
  void take_over(AttachedRing ring, const std::optional<RingProgress>& recorded);

  bool is_attached() const { return ring_.page != nullptr; }

  // What the journal must know if it knows nothing else of the ring.
  RingProgress progress() const;

 private:
  void forget_everything();
  void restart_ring();
  void close(uint32_t reason);
  bool pull();
  bool push();
  bool pass();
  void record_progress();
  void show_progress();

  Journal* journal_;
  AttachedRing ring_;  // none while detached
  // Our two of the four indices are never read back from the page. The guest sees them after show_progress().
  uint32_t request_consumer_ = 0;
  uint32_t response_producer_ = 0;
  uint64_t recorded_word_ = 0;  // of the last record
  uint32_t cut_ = 0;            // so many bytes at the beginning of the connection's output are the rest of a message
  bool is_closed_ = false;
  WorkAccount account_;
  Connection connection_;
};

}  // namespace xenopolis::xenstore
