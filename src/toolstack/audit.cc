#include "toolstack/audit.h"

#include <fmt/format.h>

#include "domain/existing.h"
#include "event/port_table.h"
#include "machine/domain_memory.h"
#include "machine/touched.h"

namespace xenopolis::toolstack {
namespace {

using domain::Stage;
using domain::State;
using event::PortState;
using event::PortWord;

constexpr std::string_view kDomains = "domains", kCells = "cells", kEvents = "event channels", kGrants = "grants",
                           kFrames = "frames", kConsoles = "consoles";

// Domids whose elements of the table at `offset` were ever used.
std::vector<DomId> touched(const machine::Machine& machine, uint64_t offset, uint64_t stride) {
  std::vector<DomId> domids;
  for (const uint32_t domid : machine::touched(machine, offset, stride, kDomIdCount)) {
    if (domid != kDom0) domids.push_back(static_cast<DomId>(domid));
  }
  return domids;
}

class Audit {
 public:
  Audit(machine::Machine& machine, const event::EventChannels& events, const grant::GrantTables& grants,
        const HostBooks& books)
      : machine_(machine), events_(events), grants_(grants), books_(books) {}

  AuditResult run() {
    for (const DomId domid : domain::existing_domains(machine_)) look_at_record(domid);
    for (const DomId domid : books_.domains) {
      if (!domain::exists(domid)) report(kDomains, domid, "polisd has it, and it has no record");
    }
    look_at_cells();
    for (const DomId domid : touched(machine_, machine::kEventOffset, machine::kEventStride)) {
      if (events_.domain_exists(domid) && !domain::exists(domid)) {
        report(kEvents, domid, "there are event channels of a domain that does not exist");
      }
      if (events_.domain_exists(domid)) look_at_ports(domid);
    }
    look_at_ports(kDom0);
    for (const DomId domid : touched(machine_, machine::kGrantOffset, machine::kGrantStride)) look_at_grants(domid);
    look_at_frames(touched(machine_, machine::kDomainMemoryOffset, machine::kDomainMemoryStride));
    look_at_consoles();
    return std::move(result_);
  }

 private:
  template <class... Arguments>
  void report(std::string_view area, DomId domid, fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    result_.findings.push_back({area, domid, fmt::format(text, std::forward<Arguments>(arguments)...)});
  }

  void look_at_record(DomId domid) {
    const domain::DomainRecord& record = domain::record_of(domid);
    ++result_.domains;
    if (!books_.domains.contains(domid)) {
      return report(kDomains, domid, "its record says {}, and polisd does not have it",
                    domain::name_of(domain::state_of(domid)));
    }
    if (record.domid != domid) report(kDomains, domid, "its record says that it is domain {}", record.domid);
    if (!is_settled(domid)) return;
    look_at_name(domid);
    if (!events_.domain_exists(domid)) report(kEvents, domid, "it has none");
    if (grants_.frames(domid) == 0) report(kGrants, domid, "it has no grant table");
    if (!machine::memory_of(domid).extent) report(kFrames, domid, "it has no memory");
    if (record.ram_pages != machine::memory_of(domid).ram_pages) {
      report(kFrames, domid, "its record says {} pages of RAM, its memory {}", record.ram_pages,
             machine::memory_of(domid).ram_pages);
    }
    if (domain::state_of(domid) == State::kRunning) look_at_backends(domid, record);
  }

  void look_at_name(DomId domid) {
    const auto [found, is_new] = names_.emplace(domain::record_of(domid).name, domid);
    if (!is_new) report(kDomains, domid, "domain {} is called {}, too", found->second, found->first);
  }

  // A guest may close its own ends. If it has not, Dom0's daemons must have theirs.
  void look_at_backends(DomId domid, const domain::DomainRecord& record) {
    for (const auto& [port, what] :
         {std::pair(record.store_port, "xenstore"), std::pair(record.console_port, "console")}) {
      const event::PortSlot* slot = event::find_slot(event::channels_of(domid), port);
      if (slot == nullptr || slot->load().state() != PortState::kUnbound) continue;
      report(kEvents, domid, "nobody in Dom0 has bound its {} channel, port {}", what, port);
    }
  }

  void look_at_cells() {
    for (const auto& [cell, places] : books_.cells) {
      for (uint32_t slot = 0; slot < places.size(); ++slot) {
        if (!places[slot]) continue;
        const DomId domid = *places[slot];
        if (!books_.domains.contains(domid)) {
          report(kCells, domid, "place {} of cell {} is taken by it, and there is no such domain", slot, cell);
        } else if (const domain::DomainRecord& record = domain::record_of(domid);
                   record.cell != cell || record.cell_slot != slot) {
          if (is_settled(domid))
            report(kCells, domid, "it has place {} of cell {}, unlike its record says", slot, cell);
        }
      }
    }
    for (const DomId domid : books_.domains) {
      if (!domain::exists(domid) || !is_settled(domid)) continue;
      const domain::DomainRecord& record = domain::record_of(domid);
      const bool is_running = domain::state_of(domid) == State::kRunning;
      if (record.cell == domain::kNoCell) {
        if (is_running) report(kCells, domid, "it runs, and has no cell");
        continue;
      }
      const auto cell = books_.cells.find(record.cell);
      if (cell == books_.cells.end()) {
        report(kCells, domid, "its record says cell {}, which does not exist", record.cell);
      } else if (record.cell_slot >= cell->second.size() || cell->second[record.cell_slot] != domid) {
        report(kCells, domid, "its record says place {} of cell {}, which is not its", record.cell_slot, record.cell);
      }
    }
  }

  static bool is_alive(DomId domid) {
    return domid < kDomIdCount && event::channels_of(domid).life.load(std::memory_order_acquire) == event::Life::kAlive;
  }

  // Each end of a channel names the other.
  void look_at_ports(DomId domid) {
    const event::DomainChannels& channels = event::channels_of(domid);
    const Port end = channels.used_ports.load(std::memory_order_acquire);
    uint32_t open = 0;
    for (Port port = 1; port < end; ++port) {
      const event::PortSlot* slot = event::find_slot(channels, port);
      if (slot == nullptr) continue;
      const PortWord word = slot->load();
      open += word.is_open();
      if (word.state() != PortState::kInterdomain) continue;
      if (!is_alive(word.remote_domid())) {
        report(kEvents, domid, "port {} is connected to domain {}, which does not exist", port, word.remote_domid());
        continue;
      }
      const event::PortSlot* remote = event::find_slot(event::channels_of(word.remote_domid()), word.remote_port());
      const bool is_mutual = remote != nullptr && remote->load().is_connected_to(domid, port);
      if (is_mutual || slot->load().bits() != word.bits()) continue;  // a change under way is no disagreement
      report(kEvents, domid, "port {} is connected to port {} of domain {}, but that one not to it", port,
             word.remote_port(), word.remote_domid());
    }
    result_.ports += open;
    const uint32_t counted = channels.open_ports.load(std::memory_order_relaxed);
    if (open != counted) report(kEvents, domid, "{} ports are open, and {} are counted", open, counted);
  }

  void look_at_grants(DomId domid) {
    if (grants_.frames(domid) == 0) return;
    result_.mappings += grants_.mappings(domid);
    if (!domain::exists(domid)) report(kGrants, domid, "there is a grant table of a domain that does not exist");
  }

  // Each chunk that was ever used is free, or has one owner.
  void look_at_frames(const std::vector<DomId>& domids) {
    const machine::FrameUse use = machine_.frames().use();
    result_.chunks = use.chunks;
    result_.pages = use.pages;
    result_.free_pages = use.free_pages;
    if (!use.is_sound) report(kFrames, 0, "a list of free memory is damaged");
    constexpr DomId kNobody = 0, kFree = kDomIdCount;
    std::vector<DomId> owners(use.chunks, kNobody);
    const auto name = [](DomId owner) {
      return owner == kFree ? std::string("free") : fmt::format("domain {}'s", owner);
    };
    const auto take = [&](const machine::ChunkRun& run, DomId owner) {
      for (uint32_t chunk = run.first; chunk < run.first + run.count; ++chunk) {
        if (chunk >= owners.size()) {
          return report(kFrames, owner % kDomIdCount, "memory that was never given out is {}", name(owner));
        }
        if (owners[chunk] != kNobody) {
          report(kFrames, owner % kDomIdCount, "2 MiB of memory (chunk {}) are {}, and {}", chunk, name(owners[chunk]),
                 name(owner));
        }
        owners[chunk] = owner;
      }
    };
    for (const DomId domid : domids) {
      const machine::Extent& extent = machine::memory_of(domid).extent;
      if (!extent) continue;
      take(machine::chunks_of(extent), domid);
      if (!domain::exists(domid)) report(kFrames, domid, "there is memory of a domain that does not exist");
    }
    for (const machine::ChunkRun& run : use.free_chunks) {
      take(run, kFree);
      result_.free_chunks += run.count;
    }
    for (uint32_t chunk = 0; chunk < owners.size(); ++chunk) {
      if (owners[chunk] == kNobody) report(kFrames, 0, "2 MiB of memory (chunk {}) are nobody's", chunk);
    }
  }

  void look_at_consoles() {
    for (const DomId domid : books_.consoles) {
      if (!books_.domains.contains(domid))
        report(kConsoles, domid, "there are consoles of a domain that does not exist");
    }
    for (const DomId domid : books_.domains) {
      if (domain::exists(domid) && is_settled(domid) && !books_.consoles.contains(domid)) {
        report(kConsoles, domid, "polis-consoled was not told of its console");
      }
    }
  }

  machine::Machine& machine_;
  const event::EventChannels& events_;
  const grant::GrantTables& grants_;
  const HostBooks& books_;
  AuditResult result_;
  std::map<std::string, DomId> names_;
};

}  // namespace

bool is_settled(DomId domid) {
  const State state = domain::state_of(domid);
  return domain::record_of(domid).stage.load(std::memory_order_acquire) == Stage::kUp &&
         (state == State::kRunning || state == State::kShutdown);
}

AuditResult audit(machine::Machine& machine, const event::EventChannels& events, const grant::GrantTables& grants,
                  const HostBooks& books) {
  return Audit(machine, events, grants, books).run();
}

}  // namespace xenopolis::toolstack
