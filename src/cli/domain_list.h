// What there is on a host, read from its domain records: polisd has better things to do than to describe 10,000 domains
// to everybody who looks.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "domain/domain_record.h"
#include "machine/machine.h"
#include "toolstack/uuid.h"

namespace xenopolis::cli {

struct ListedDomain {
  DomId domid = 0;
  std::string name;
  domain::State state = domain::State::kFree;
  domain::Stage stage = domain::Stage::kNone;
  bool paused = false;
  int runstate = RUNSTATE_offline;  // of its vCPU, with state kRunning
  uint64_t memory_kib = 0;
  uint32_t vcpus = 1;
  uint32_t cell = domain::kNoCell;
  uint64_t cpu_time_ns = 0;
  int64_t started_s = 0;         // of the calendar
  uint64_t created_ns = 0;       // of CLOCK_MONOTONIC
  uint32_t shutdown_reason = 0;  // with state kShutdown
  toolstack::Uuid uuid{};
  uint64_t exits = 0, hypercalls = 0, upcalls = 0;

  bool has_shut_down() const { return state == domain::State::kShutdown; }
  bool is_dying() const { return state == domain::State::kDying || stage == domain::Stage::kEnding; }
};

// By domid, without Dom0. Domains may come and go meanwhile, and one that is being renamed may have some of both names.
std::vector<ListedDomain> read_domains(const machine::Machine& machine);
// One of them; `state` is kFree when there is none.
ListedDomain read_domain(DomId domid);

// "1 domain", "17 domains".
std::string so_many_domains(uint64_t count);

// As op "list" of the control socket says it.
nlohmann::json to_json(const ListedDomain& domain);

// xl's six letters: running, blocked, paused, shut down, why, dying. None of the first two: it would run if it had a
// CPU.
std::string state_letters(const ListedDomain& domain);

}  // namespace xenopolis::cli
