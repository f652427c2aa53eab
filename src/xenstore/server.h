// The daemon without its sockets and its machine: store, watches, domains, and what requests mean.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "xenstore/accounts.h"
#include "xenstore/backlog.h"
#include "xenstore/connection.h"
#include "xenstore/control.h"
#include "xenstore/ring.h"
#include "xenstore/special.h"
#include "xenstore/store.h"
#include "xenstore/trace.h"

namespace xenopolis::xenstore {

// Where rings come from: the machine, or a test.
class DomainLink {
 public:
  virtual ~DomainLink() = default;
  // Maps `gfn` of the domain and binds its event channel `port`. Events of it are told by Server::domain_event().
  virtual XsResult<AttachedRing> attach(DomId domid, Gfn gfn, Port port) = 0;
  // Whether there is such a domain, introduced or not.
  virtual bool exists(DomId) const { return true; }
};

// Belongs to one thread. After anything happened its owner lets ready().run_once() have its turns until it is empty.
class Server final : public RequestHandler {
 public:
  // Without `link` INTRODUCE answers ENOSYS. It must outlive the server.
  explicit Server(DomainLink* link = nullptr, const Quota& quota = {}, const Clock* clock = nullptr);
  ~Server() override;

  ReadyList& ready() { return ready_; }
  // Turns and waits end by themselves: the owner calls turns().advance() at turns().next_deadline_ns().
  Turns& turns() { return turns_; }
  WatchTrie& watches() { return watches_; }
  Control& control() { return control_; }
  Trace& trace() { return trace_; }

  void handle(Connection& connection, const Header& header, std::string_view payload) override;

  // The domain's event channel was notified. Costs this domain only.
  void domain_event(DomId domid);

  // As RELEASE: kNoEnt when it was not introduced. The machine's side calls it for a domain that died.
  XsStatus release(DomId domid);
  bool is_introduced(DomId domid) const { return domains_.contains(domid); }
  // The domain has shut down or crashed, and is not destroyed yet: tells those who watch @releaseDomain, once, until
  // RESUME. kNoEnt when it was not introduced.
  XsStatus shut_down(DomId domid);

  // Goes on where the owner of `journal` before has stopped, and keeps there from now on what must survive this
  // process: all but the connections of sockets. To be called before anything else. `journal` must outlive the server.
  // EINVAL: the journal cannot be understood.
  Status continue_from(Journal& journal);

  // All state that is not a connection's, for checks, reports and whoever writes it down. What SET_TARGET said is in
  // the transports' subjects.
  struct Domain {
    std::unique_ptr<RingTransport> transport;
    std::vector<DomId> targeted_by;  // who has this domain as target
    bool is_shut_down = false;       // and @releaseDomain has been fired for that
    Gfn gfn = 0;                     // of the ring
    Port port = 0;                   // the domain's
  };
  const std::unordered_map<DomId, Domain>& domains() const { return domains_; }
  const std::unordered_map<DomId, uint32_t>& features() const { return features_; }
  Store& store() { return store_; }
  const Store& store() const { return store_; }
  const SpecialNames& specials() const { return specials_; }
  const WatchTrie& watches() const { return watches_; }
  Maxima& maxima() { return maxima_; }
  const Maxima& maxima() const { return maxima_; }
  // Whether quotas, features or rights can be said of this domain.
  bool exists(DomId domid) const;

 private:
  struct Request {
    Connection& connection;
    const Header& header;
    std::string_view payload;
    Transaction* transaction;
    uint32_t started = 0;    // by TRANSACTION_START
    bool has_ended = false;  // by TRANSACTION_END: there is no such transaction any more, whatever the answer
  };
  using Operation = XsStatus (Server::*)(Request&);
  struct OperationEntry {
    Operation operation = nullptr;
    bool is_privileged = false;
    bool ignores_transaction = false;
    bool is_kept = false;  // in the journal: it changes what must survive
  };
  static const OperationEntry& operation_of(uint32_t type);

  // requests.cc
  XsStatus directory(Request& request);
  XsStatus directory_part(Request& request);
  XsStatus read(Request& request);
  XsStatus write(Request& request);
  XsStatus make_directory(Request& request);
  XsStatus remove(Request& request);
  XsStatus get_perms(Request& request);
  XsStatus set_perms(Request& request);
  XsStatus set_special_perms(Request& request, std::string_view name, std::vector<PermEntry> entries);
  XsStatus watch(Request& request);
  XsStatus unwatch(Request& request);
  XsStatus reset_watches(Request& request);
  XsStatus start_transaction(Request& request);
  XsStatus end_transaction(Request& request);
  XsStatus commit(Connection& connection, Transaction& transaction, std::vector<Change>& changes);
  XsStatus get_domain_path(Request& request);
  XsStatus control_request(Request& request);
  XsResult<std::string_view> path_of(const Subject& subject, std::string_view given, bool may_be_special = false);
  XsResult<const Node*> read_node(Request& request, uint8_t what);
  XsStatus change(Request& request, const ChangeRequest& what);
  void answer(Connection& connection, const Header& header, std::string_view payload);
  void note_holding(DomId domid, const Transaction* transaction);
  void note_memory(DomId domid, uint64_t bytes);
  XsError error_of_unknown_special(const Subject& subject, uint8_t access) const;
  void trace_answers(const Connection& connection, size_t since);

  // recovery.cc
  bool has_room_to_keep(const Request& request) const;
  void keep(const Request& request);
  void keep_commit(const Transaction& transaction, const Subject& subject);
  void repeat(Connection& dom0, const Record& record);
  Domain& domain_again(DomId domid);
  void take_over_rings(const std::unordered_map<DomId, RingProgress>& recorded);

  // domains.cc
  Domain& add_domain(DomId domid);
  XsStatus introduce(Request& request);
  XsStatus forget(DomId domid);
  XsStatus release_request(Request& request);
  XsStatus is_domain_introduced(Request& request);
  XsStatus resume(Request& request);
  XsStatus set_target(Request& request);
  void forget_settings(DomId domid);

  // settings.cc
  XsStatus get_feature(Request& request);
  XsStatus set_feature(Request& request);
  XsStatus get_quota(Request& request);
  XsStatus set_quota(Request& request);
  uint32_t features_of(DomId domid) const;
  XsResult<DomId> known_domain(std::string_view text) const;

  // events.cc
  Backlog& add_backlog(DomId writer);
  // What `writer` has done, at once if that is not too much.
  void fire_changes(std::vector<Change> changes, DomId writer);
  void fire_change(const Change& change);
  // With `domid` those hear too who asked for the domain (WATCH with <depth>, "@releaseDomain/7").
  void fire_special(std::string_view name, DomId domid);
  void fire_special_perms(std::string_view name, const Perms& old_perms);
  // `client` watches `path` from now on.
  void fire_client_watch(const Connection& client, std::string_view path);
  void let_hear(const Perms* perms);
  bool may_hear(const Watch& watch, const Perms* perms) const;
  void fire(Watch& watch, std::string_view path);

  DomainLink* link_;
  Journal* journal_ = nullptr;
  bool is_repeating_ = false;  // what the journal says
  Store store_;
  WatchTrie watches_;
  MonotonicClock monotonic_clock_;
  Turns turns_;  // before all connections: they refer to it
  ReadyList ready_;
  std::unordered_map<DomId, Domain> domains_;
  SpecialNames specials_;
  std::unordered_map<DomId, uint32_t> features_;  // of domains that may not use all; at most kDomIdCount
  Maxima maxima_;
  std::unordered_set<DomId> over_soft_quota_;  // the log has told of them
  Trace trace_;
  Control control_{*this};
  std::string path_buffer_;  // for canonical paths, during one request
  std::string reply_buffer_;
  Hearers hearers_;                                               // during one event
  std::unordered_map<DomId, std::unique_ptr<Backlog>> backlogs_;  // by writer
};

}  // namespace xenopolis::xenstore
