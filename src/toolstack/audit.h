// Whether those who keep books on a host agree: its domains' records, polisd, cells, event channels, grants, frames and
// consoles. What xenstore and the daemons say is compared by whoever asks for the audit (cli/doctor.h).
//
// It looks, and changes nothing. Cells go on meanwhile: what they change in these moments may look like a disagreement,
// hence only what a second look finds, too, is one. Domains that come or go are left out where their state is in
// between.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "event/event_channels.h"
#include "grant/grant_table.h"
#include "machine/machine.h"

namespace xenopolis::toolstack {

struct Finding {
  std::string_view area;  // "domains", "cells", "event channels", "grants", "frames", "consoles"
  DomId domid = 0;        // whom it is about; 0: nobody, or Dom0
  std::string text;

  bool operator==(const Finding&) const = default;
};

// What polisd believes.
struct HostBooks {
  std::set<DomId> domains;
  std::map<uint32_t, std::array<std::optional<DomId>, machine::kVcpusPerDoorbell>> cells;  // who is at which place
  std::set<DomId> consoles;  // of whose consoles polis-consoled was told
};

struct AuditResult {
  std::vector<Finding> findings;
  // How much there was to look at, for people and for who looks for growth.
  uint64_t domains = 0, ports = 0, mappings = 0;
  uint64_t chunks = 0, free_chunks = 0, pages = 0, free_pages = 0;
};

// O(domains, open ports, memory in use). For the process that owns the domains' records: they do not come or go
// meanwhile.
AuditResult audit(machine::Machine& machine, const event::EventChannels& events, const grant::GrantTables& grants,
                  const HostBooks& books);

// Neither coming nor going: everything about it has to be there.
bool is_settled(DomId domid);

}  // namespace xenopolis::toolstack
