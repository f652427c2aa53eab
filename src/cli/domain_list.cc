#include "cli/domain_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "domain/existing.h"
#include "domain/registry.h"

namespace xenopolis::cli {
namespace {

// SHUTDOWN_* in the order of their numbers, as xl abbreviates them.
constexpr std::string_view kReasonLetters = "-rscwS";

}  // namespace

ListedDomain read_domain(DomId domid) {
  const domain::DomainRecord& record = domain::record_of(domid);
  ListedDomain listed;
  listed.domid = domid;
  listed.state = domain::state_of(domid);
  if (listed.state == domain::State::kFree) return listed;
  listed.name.assign(record.name, strnlen(record.name, sizeof record.name));
  listed.stage = record.stage.load(std::memory_order_relaxed);
  listed.paused = record.is_paused.load(std::memory_order_relaxed);
  listed.runstate = record.runstate.load(std::memory_order_relaxed);
  listed.memory_kib = record.ram_pages * (kPageSize / 1024);
  listed.cell = record.cell;
  listed.cpu_time_ns = record.run_time_ns.load(std::memory_order_relaxed);
  listed.started_s = record.started_s;
  listed.created_ns = record.created_ns.load(std::memory_order_relaxed);
  if (listed.has_shut_down()) listed.shutdown_reason = record.shutdown_reason;
  std::memcpy(listed.uuid.data(), record.configuration.uuid, listed.uuid.size());
  listed.exits = record.exits.load(std::memory_order_relaxed);
  listed.hypercalls = record.hypercalls.load(std::memory_order_relaxed);
  listed.upcalls = record.upcalls.load(std::memory_order_relaxed);
  return listed;
}

std::vector<ListedDomain> read_domains(const machine::Machine& machine) {
  std::vector<ListedDomain> domains;
  for (const DomId domid : domain::existing_domains(machine)) {
    ListedDomain listed = read_domain(domid);
    if (listed.state != domain::State::kFree && !listed.name.empty()) domains.push_back(std::move(listed));
  }
  return domains;
}

std::string so_many_domains(uint64_t count) {
  return fmt::format("{} domain{}", count, count == 1 ? "" : "s");
}

nlohmann::json to_json(const ListedDomain& domain) {
  nlohmann::json described{{"domid", domain.domid},
                           {"name", domain.name},
                           {"state", domain::name_of(domain.state)},
                           {"stage", domain::name_of(domain.stage)},
                           {"paused", domain.paused},
                           {"memory_kib", domain.memory_kib},
                           {"vcpus", domain.vcpus},
                           {"runstate", domain::name_of_runstate(domain.runstate)},
                           {"cpu_time_ns", domain.cpu_time_ns},
                           {"started_s", domain.started_s},
                           {"uuid", toolstack::to_text(domain.uuid)}};
  described["cell"] = domain.cell == domain::kNoCell ? nlohmann::json() : nlohmann::json(domain.cell);
  if (domain.has_shut_down()) described["shutdown_reason"] = domain::name_of_shutdown(domain.shutdown_reason);
  return described;
}

std::string state_letters(const ListedDomain& domain) {
  std::string letters = "------";
  const bool is_dying = domain.is_dying();
  if (domain.state == domain::State::kRunning && !is_dying) {
    if (domain.runstate == RUNSTATE_running) letters[0] = 'r';
    if (domain.runstate == RUNSTATE_blocked) letters[1] = 'b';
  }
  if (domain.paused && !domain.has_shut_down()) letters[2] = 'p';
  if (domain.has_shut_down()) {
    letters[3] = 's';
    letters[4] = domain.shutdown_reason < kReasonLetters.size() ? kReasonLetters[domain.shutdown_reason] : '?';
  }
  if (is_dying) letters[5] = 'd';
  return letters;
}

}  // namespace xenopolis::cli
