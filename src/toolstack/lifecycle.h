// Creates and destroys domains: the steps in their order, each cleaned up after when a later one fails.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "domain/domain_record.h"
#include "event/event_channels.h"
#include "grant/grant_table.h"
#include "machine/machine.h"
#include "toolstack/cell_pool.h"
#include "toolstack/domain_consoles.h"
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
  // What happens to domains, for subscribers: "shutdown", "crashed", "destroyed" with a text for people.
  using Observer =
      std::function<void(std::string_view what, DomId domid, const std::string& name, const std::string& why)>;

  Lifecycle(machine::Machine& machine, event::EventChannels& events, grant::GrantTables& grants, CellPool& cells,
            XenstoreClient& xenstore, DomainConsoles& consoles, LifecycleConfig config, Observer observer);

  // Calls back when the domain runs and both backends have it, or with the reason why not (nothing is left then).
  void create(const DomainSpec& spec, Created created);
  // Calls back when nothing is left of the domain. ENOENT.
  void destroy(DomId domid, std::function<void(Status)> destroyed);

  // From the cell pool.
  void on_cell_reply(const vcpu::CellReply& reply);
  void on_cell_death(const std::string& how, const std::vector<DomId>& domains);

  size_t count() const { return domains_.size(); }
  template <class Visitor>  // void(DomId, const std::string& name)
  void for_each(Visitor visit) const {
    for (const auto& [domid, domain] : domains_) visit(domid, domain->name);
  }

 private:
  struct Domain {
    std::string name;
    Place place;
    bool in_cell = false;      // the cell has it or will get it
    bool in_xenstore = false;  // entries were written, and polis-consoled has its consoles or will get them
    uint32_t further_consoles = 0;
    bool running = false;       // created was called with success
    bool ending = false;        // to be torn down as soon as no creation step is under way
    bool tearing_down = false;  // the steps under way are those of the teardown
    uint32_t steps_under_way = 0;
    std::string failure;  // first reason why creation failed
    int failure_code = 0;
    Created created;
    std::vector<std::function<void(Status)>> destroyed;
  };

  Status prepare(DomId domid, const DomainSpec& spec, Domain& domain);
  void unprepare(DomId domid, Domain& domain);
  Status check_host_memory();
  void on_built(DomId domid, Domain& domain);
  void write_xenstore_entries(DomId domid, const Domain& domain);
  void creation_step_done(DomId domid, const Status& status);
  void end(DomId domid);
  void tear_down(DomId domid, Domain& domain);
  void teardown_step_done(DomId domid);
  Domain* find(DomId domid);

  machine::Machine& machine_;
  event::EventChannels& events_;
  grant::GrantTables& grants_;
  CellPool& cells_;
  SharedFiles files_;
  XenstoreClient& xenstore_;
  DomainConsoles& consoles_;
  LifecycleConfig config_;
  Observer observer_;
  std::unordered_map<DomId, std::unique_ptr<Domain>> domains_;
  std::unordered_map<std::string, DomId> names_;
  std::deque<DomId> free_domids_;
  uint64_t memory_checked_ns_ = 0;
  uint64_t memory_available_mib_ = 0;
};

}  // namespace xenopolis::toolstack
