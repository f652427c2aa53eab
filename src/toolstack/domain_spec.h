// What somebody wants to be created: from an xl.cfg, a fleet's file or a program, as JSON over the control socket.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "domain/domain_record.h"

namespace xenopolis::toolstack {

struct DomainSpec {
  std::string name;          // unique; 1 to 63 characters of [A-Za-z0-9._-]
  uint64_t memory_mib = 4;   // 1 MiB .. 512 GiB
  std::string image;         // path; absolute over the control socket
  std::string ramdisk;       // the same; empty: none
  std::string command_line;  // at most MAX_GUEST_CMDLINE - 1 bytes
  // Highest port of the domain, 1 .. 131,071: xl.cfg's word and libxl's default.
  uint32_t max_event_channels = 1023;
  uint32_t max_grant_frames = 64;  // 1 .. domain::kMaxGrantFrames
  uint32_t consoles = 0;           // devices, beside the first: at most kMaxFurtherConsoles
  std::string uuid;                // 8-4-4-4-12 hexadecimal digits; empty: random
  domain::EndAction on_poweroff = domain::EndAction::kDestroy;
  domain::EndAction on_reboot = domain::EndAction::kRestart;
  domain::EndAction on_watchdog = domain::EndAction::kDestroy;
  domain::EndAction on_crash = domain::EndAction::kDestroy;
  bool paused = false;  // it does not run before it is unpaused
};

// "destroy", "restart", "preserve".
std::string_view name_of(domain::EndAction action);
Result<domain::EndAction> end_action_named(std::string_view name);

// Members as in DomainSpec, in alphabetical order, actions by name. Unknown members and wrong types are errors that
// name the member (EINVAL); all but "name" and "image" may be left out.
nlohmann::json to_json(const DomainSpec& spec);
Result<DomainSpec> spec_from_json(const nlohmann::json& object);

// EINVAL and what is wrong: for all that can be said without looking at a host.
Status check(const DomainSpec& spec);

}  // namespace xenopolis::toolstack
