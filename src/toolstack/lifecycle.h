// The lives of domains: creation, what happens when one has shut down, and taking down; step by step, each cleaned up
// after when a later one fails.
//
// What has to outlive polisd stands in the domain's record (its stage, its configuration): adopt() goes on from there.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "domain/domain_record.h"
#include "event/event_channels.h"
#include "grant/grant_table.h"
#include "machine/machine.h"
#include "toolstack/cell_pool.h"
#include "toolstack/domain_consoles.h"
#include "toolstack/domain_entries.h"
#include "toolstack/domain_spec.h"
#include "toolstack/shared_files.h"
#include "toolstack/xenstore_client.h"

namespace xenopolis::toolstack {

struct LifecycleConfig {
  event::Abi event_abi = event::Abi::kFifo;
  domain::Backend backend = domain::Backend::kKvm;
  // Host memory that creating domains must leave available; creation fails with ENOMEM before that.
  uint64_t reserve_mib = 256;
};

// All calls and callbacks on the loop's thread. The work for one domain does not depend on how many there are.
class Lifecycle {
 public:
  using Created = std::function<void(Result<DomId>)>;
  using Done = std::function<void(Status)>;
  // What happens to domains, for subscribers: "created", "shutdown", "crashed", "rebooted" (as the new domain),
  // "renamed", "destroyed", with a text for people.
  using Observer =
      std::function<void(std::string_view what, DomId domid, const std::string& name, const std::string& why)>;

  Lifecycle(EventLoop& loop, machine::Machine& machine, event::EventChannels& events, grant::GrantTables& grants,
            CellPool& cells, XenstoreClient& xenstore, DomainConsoles& consoles, LifecycleConfig config,
            Observer observer);

  // Once, before anything else, when the machine is that of a polisd before this one: takes its domains over, and takes
  // down what it had not finished to create. Its cells are adopted already.
  void adopt();

  // Calls back when the domain runs and both backends have it, or with the reason why not (nothing is left then).
  void create(const DomainSpec& spec, Created created);
  // Calls back when nothing is left of the domain. ENOENT.
  void destroy(DomId domid, Done destroyed);

  // These call back with ESRCH when the domain has shut down.
  // Does not run it until it is unpaused. Does nothing when it is.
  void pause(DomId domid, bool paused, Done done);
  // ENXIO: the guest has no callback for it.
  void trigger_nmi(DomId domid, Done done);
  // Writes `value` to control/`node` in the domain's xenstore directory, for the guest to act on.
  void ask_guest(DomId domid, std::string_view node, std::string_view value, Done done);
  // EINVAL, EEXIST.
  void rename(DomId domid, const std::string& name, Done done);

  size_t count() const { return domains_.size(); }
  bool has(DomId domid) const { return domains_.contains(domid); }
  // 0: none has that name.
  DomId named(const std::string& name) const;
  // What would create it again.
  DomainSpec spec_of(DomId domid) const;
  template <class Visitor>  // void(DomId)
  void for_each(Visitor visit) const {
    for (const auto& [domid, domain] : domains_) visit(domid);
  }

  // From the cell pool.
  void on_cell_reply(uint32_t cell, const vcpu::CellReply& reply);
  void on_cell_death(const Error& why, const std::vector<DomId>& domains);

 private:
  struct Domain {
    std::string name;
    // What a client has named: the record has it too, but cells could write there what they would like to read.
    std::string image, ramdisk;
    Place place;
    bool in_cell = false;      // the cell has it or will get it
    bool in_xenstore = false;  // entries were written, and polis-consoled has its consoles or will get them
    bool running = false;      // creation has succeeded; also when the guest has shut down since
    bool has_shut_down = false;
    bool ending = false;        // to be torn down as soon as no creation step is under way
    bool tearing_down = false;  // the steps under way are those of the teardown
    uint32_t steps_under_way = 0;
    std::string failure;  // first reason why creation failed
    int failure_code = 0;
    Created created;
    std::deque<Done> cell_answers;  // to pause, unpause and trigger, in the order of the requests
    std::vector<Done> destroyed;
  };

  // --- creation
  Status check_host_memory();
  // `stage`: kCreating, or kReplacing.
  void start(const DomainSpec& spec, domain::Stage stage, Created created);
  Status prepare(DomId domid, const DomainSpec& spec, domain::Stage stage, Domain& domain);
  void on_built(DomId domid, Domain& domain);
  void creation_step_done(DomId domid, const Status& status);

  // --- end
  void on_shutdown(DomId domid, std::string why);
  domain::EndAction action_of(DomId domid) const;
  void settle(DomId domid);
  void end(DomId domid);
  void tear_down(DomId domid, Domain& domain);
  void teardown_step_done(DomId domid);
  void replace(DomId domid);
  void start_successor(DomId domid);
  void keep_and_replace(DomId domid, uint64_t incarnation);
  void keep_as(DomId domid, const std::string& name);
  void give_up_uuid(DomId domid);
  void forget(DomId domid);
  void give_up_resources(DomId domid, const Domain& domain);
  void unprepare(DomId domid, const Domain& domain);

  Domain* find(DomId domid);
  bool adopt(DomId domid, bool has_successor);
  void call(DomId domid, const std::string& name);
  Done renamed(DomId domid, Done done);
  ConsoleDescription consoles_of(DomId domid) const;
  void ask_cell(DomId domid, vcpu::CellRequestKind kind, Done done);
  uint64_t new_incarnation();

  EventLoop& loop_;
  machine::Machine& machine_;
  event::EventChannels& events_;
  grant::GrantTables& grants_;
  CellPool& cells_;
  SharedFiles files_;
  XenstoreClient& xenstore_;
  DomainEntries entries_;
  DomainConsoles& consoles_;
  LifecycleConfig config_;
  Observer observer_;
  std::unordered_map<DomId, std::unique_ptr<Domain>> domains_;
  std::unordered_map<std::string, DomId> names_;
  std::map<Uuid, DomId> uuids_;
  std::deque<DomId> free_domids_;
  uint64_t last_incarnation_ = 0;
  uint64_t memory_checked_ns_ = 0;
  uint64_t memory_available_mib_ = 0;
};

// What a domain is called now that another has its name: as xl does it (xl_vmcontrol.c, preserve_domain).
std::string kept_name(const std::string& name);

}  // namespace xenopolis::toolstack
