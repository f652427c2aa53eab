// The daemon without its sockets and its machine: store, watches, domains, and what requests mean.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "xenstore/connection.h"
#include "xenstore/ring.h"
#include "xenstore/store.h"

namespace xenopolis::xenstore {

// Where rings come from: the machine, or a test.
class DomainLink {
 public:
  virtual ~DomainLink() = default;
  // Maps `gfn` of the domain and binds its event channel `port`. Events of it are told by Server::domain_event().
  virtual XsResult<AttachedRing> attach(DomId domid, Gfn gfn, Port port) = 0;
};

// Belongs to one thread. After anything happened its owner lets ready().run_once() have its turns until it is empty.
class Server final : public RequestHandler {
 public:
  // Without `link` INTRODUCE answers ENOSYS. It must outlive the server.
  explicit Server(DomainLink* link = nullptr, const Quota& quota = {});
  ~Server() override;

  ReadyList& ready() { return ready_; }
  WatchTrie& watches() { return watches_; }

  void handle(Connection& connection, const Header& header, std::string_view payload) override;

  // The domain's event channel was notified. Costs this domain only.
  void domain_event(DomId domid);

  // As RELEASE: kNoEnt when it was not introduced. The machine's side calls it for a domain that died.
  XsStatus release(DomId domid);
  bool is_introduced(DomId domid) const { return domains_.contains(domid); }

 private:
  struct Domain {
    std::unique_ptr<RingTransport> transport;
    std::vector<DomId> targeted_by;  // who has this domain as target
  };
  struct Request {
    Connection& connection;
    const Header& header;
    std::string_view payload;
    Transaction* transaction;
  };
  using Operation = XsStatus (Server::*)(Request&);
  struct OperationEntry {
    Operation operation = nullptr;
    bool is_privileged = false;
    bool ignores_transaction = false;
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
  XsStatus get_domain_path(Request& request);
  XsResult<const Node*> read_node(Request& request, uint8_t what);
  XsStatus change(Request& request, const ChangeRequest& what);

  // domains.cc
  XsStatus introduce(Request& request);
  XsStatus release_request(Request& request);
  XsStatus is_domain_introduced(Request& request);
  XsStatus resume(Request& request);
  XsStatus set_target(Request& request);
  void fire_changes(const std::vector<Change>& changes);
  void fire_special(std::string_view name);

  DomainLink* link_;
  Store store_;
  WatchTrie watches_;
  ReadyList ready_;
  std::unordered_map<DomId, Domain> domains_;
  StringMap<PermsRef> special_perms_;  // of "@introduceDomain" and "@releaseDomain"
  std::string path_buffer_;            // for canonical paths, during one request
  std::string reply_buffer_;
};

}  // namespace xenopolis::xenstore
