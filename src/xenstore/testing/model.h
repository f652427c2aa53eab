// For tests and fuzzing: a xenstore as plain as can be, that says what the daemon must answer. Whole copies instead of
// shared structure, walks over everything instead of indices, rights of dead domains taken away at once.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "xen_abi/xen.h"

namespace xenopolis::xenstore::model {

struct ModelPerms {
  DomId owner = 0;
  bool is_owner_dead = false;  // then nobody is the owner (seen in snapshots only: the store's own nodes go)
  uint8_t others = 0;          // bits: 1 read, 2 write
  std::vector<std::pair<DomId, uint8_t>> entries;

  bool operator==(const ModelPerms&) const = default;
};

struct ModelNode {
  std::string value;
  ModelPerms perms;

  bool operator==(const ModelNode&) const = default;
};

using ModelTree = std::map<std::string, ModelNode>;  // by absolute path

// What somebody may hear. `must`: exactly so often; otherwise at most.
struct ModelEvent {
  unsigned client;
  std::string text;  // path, bar, token, bar
  bool must;
};

struct ModelReply {
  std::string text;     // payload with bars for nuls, or an error's name
  bool is_any = false;  // the text is not predicted
  std::vector<ModelEvent> events;
};

struct ModelQuota {
  unsigned nodes;
  unsigned transactions;
  size_t value_too_large;  // values at least so long are refused to guests; shorter ones in use never are
};

class Model {
 public:
  explicit Model(const ModelQuota& quota);

  // Clients have numbers. Guests appear by introduce() and go by release().
  void add_client(unsigned client, DomId domid);
  bool has_client(unsigned client) const { return clients_.contains(client); }

  struct Request {
    unsigned client;
    uint32_t type;
    std::string payload;  // with bars
    uint32_t transaction;
  };
  // For all types but those below. What was asked in a transaction is kept for its end.
  ModelReply ask(const Request& request);

  ModelReply start_transaction(unsigned client, uint32_t given_transaction);
  void started(unsigned client, uint32_t transaction);
  // `is_done`: what the daemon said of "T"; the model must agree that it may. Otherwise `fault` says why not.
  ModelReply end_transaction(unsigned client, uint32_t transaction, bool commits, bool is_done, std::string& fault);
  bool has_transaction(unsigned client, uint32_t transaction) const;
  // Open transactions, by client, in which somebody gave rights to `domid`. The rights are void once it is released,
  // which the plain text that is kept of a request does not say: end them before release().
  std::vector<std::pair<unsigned, uint32_t>> transactions_that_name(DomId domid) const;

  // By client `asking`; `guest` is the number that the client of that domain has.
  ModelReply introduce(unsigned asking, DomId domid, unsigned guest);
  ModelReply release(unsigned asking, DomId domid);
  bool is_introduced(DomId domid) const { return introduced_.contains(domid); }

  const ModelTree& tree() const { return tree_; }

 private:
  struct Watch {
    std::string path;
    std::string token;
    size_t hidden;  // bytes of an event's path that the client does not see
  };
  struct Transaction {
    ModelTree base;
    ModelTree view;
    uint64_t started_at;
    std::vector<std::pair<Request, std::string>> asked;
  };
  struct Client {
    DomId domid;
    std::optional<DomId> target;
    std::vector<Watch> watches;
    std::map<uint32_t, Transaction> transactions;
  };
  // Where a request is carried out, and with what quota.
  struct Place {
    ModelTree& tree;
    int64_t owned;
    std::vector<ModelEvent>* events;
  };

  std::string carry_out(const Request& request, Place place);
  std::string write(const Client& client, Place& place, const std::string& path, const std::string* value);
  std::string remove(const Client& client, Place& place, const std::string& path);
  std::string set_perms(const Client& client, Place& place, const std::string& path, const std::string& perms);
  std::string watch(Client& client, unsigned number, const std::string& payload, std::vector<ModelEvent>& events);
  std::string unwatch(Client& client, const std::string& payload);
  std::string special(const Client& client, const Request& request, const std::string& name, const std::string& rest,
                      std::vector<ModelEvent>& events);
  std::string set_target(const std::string& payload);

  static uint8_t access(const Client& client, const ModelPerms& perms);
  static std::string nearest(const ModelTree& tree, const std::string& path);
  static int64_t count_owned(const ModelTree& tree, DomId domid);
  static std::optional<std::string> absolute(const std::string& given, DomId domid);
  // Events of a change of `path` for everyone who watches it or above (or, if `exactly`, just it).
  void tell(Place& place, const std::string& path, const std::vector<const ModelPerms*>& readable_by, bool exactly,
            bool must = true);
  void tell_special(const std::string& name, std::vector<ModelEvent>& events);
  void forget_rights(ModelTree& tree, DomId domid);

  ModelQuota quota_;
  ModelTree tree_;
  uint64_t changes_ = 0;  // made so far, by anyone
  std::map<unsigned, Client> clients_;
  std::map<DomId, unsigned> introduced_;
  std::map<std::string, ModelPerms> specials_;
};

}  // namespace xenopolis::xenstore::model
