// A domain as toolstack, cells and backends know it: one record per domid, in the machine.
#pragma once

#include <atomic>
#include <cstdint>

#include "event/event_channels.h"
#include "machine/layout.h"

namespace xenopolis::domain {

// Who may change what: the toolstack (polisd) owns a record while it is kFree, kBuilding or kDying; the domain's cell
// while it is kRunning. Every change of state is a release store by the owner, who hands the record over with it.
enum class State : uint32_t {
  kFree,      // no such domain
  kBuilding,  // the toolstack fills the record, then the cell builds the domain
  kRunning,   // its vCPU exists
  kShutdown,  // it has shut down or crashed: shutdown_reason is valid; its vCPU is gone
  kDying,     // being destroyed
};

enum class Backend : uint32_t { kKvm, kHosted };

inline constexpr uint32_t kNoCell = ~0u;

// How far the toolstack has come with a domain. With the record it outlives polisd: the next one goes on from here.
enum class Stage : uint32_t {
  kNone,
  kCreating,   // not everybody has it yet: what has no creator any more is taken away
  kReplacing,  // the same, of one that takes another's place (reboot): what has no creator is created again
  kUp,         // created
  kRebooting,  // being taken down; its successor begins with what this record says
  kEnding,     // being taken down
};

// What happens to a domain that has shut down: xl.cfg(5), "EVENT ACTIONS".
enum class EndAction : uint8_t { kDestroy, kRestart, kPreserve, kRenameRestart };

// What somebody wanted of a domain, as far as it does not stand elsewhere in its record. Enough to create it again.
struct DomainConfiguration {
  char image[512];    // absolute path, NUL-terminated
  char ramdisk[512];  // the same; empty: none
  uint8_t uuid[16];
  uint32_t max_event_channels;  // highest port
  uint32_t max_grant_frames;
  uint32_t further_consoles;
  EndAction on_poweroff, on_reboot, on_watchdog, on_crash;
};

struct DomainRecord {
  std::atomic<State> state;

  // --- constant while the domain exists; written by the toolstack in kBuilding
  DomId domid;
  uint64_t ram_pages;
  Backend backend;
  uint32_t cell;                         // doorbell id of its cell, kNoCell: none
  uint32_t cell_slot;                    // its vCPU's bit there
  Port store_port;                       // in the guest, offered to Dom0
  Port console_port;                     // likewise
  char command_line[MAX_GUEST_CMDLINE];  // <xen/xen.h>: what start_info holds
  DomainConfiguration configuration;
  int64_t started_s;     // of the calendar, UTC
  uint64_t incarnation;  // no other domain of this machine has it, also none with the same domid

  // --- written by the toolstack at any time while the domain exists
  std::atomic<Stage> stage;
  std::atomic<bool> is_paused;              // what the cell was told last
  std::atomic<uint32_t> renames_under_way;  // xenstore may still say what was before
  char name[64];  // NUL-terminated; for people: who reads while it changes may see some of both

  // --- written by the cell before kRunning
  Gfn store_gfn;
  Gfn console_gfn;

  // --- written by the cell before kShutdown: SHUTDOWN_* of <xen/sched.h>
  uint32_t shutdown_reason;

  // --- CLOCK_MONOTONIC, ns, each written once by whoever sees it happen; 0: not yet
  std::atomic<uint64_t> created_ns;    // toolstack: creation asked for
  std::atomic<uint64_t> built_ns;      // cell: image loaded, vCPU created
  std::atomic<uint64_t> first_run_ns;  // cell: guest code entered

  // --- counted by the cell (relaxed)
  std::atomic<uint64_t> exits;
  std::atomic<uint64_t> hypercalls;
  std::atomic<uint64_t> upcalls;
  std::atomic<uint64_t> run_time_ns;
  // What it has said to the hypervisor's log (CONSOLEIO_write), which has a limit. Who comes after a reboot begins with
  // what was said before: added by the toolstack, at any time.
  std::atomic<uint64_t> log_bytes;

  // --- written by the cell (relaxed): RUNSTATE_* of <xen/vcpu.h>; means something with state kRunning
  std::atomic<int> runstate;
};
static_assert(sizeof(DomainRecord) <= machine::kDomainRecordStride);

inline DomainRecord& record_of(DomId domid) {
  return machine::table_element<DomainRecord, machine::kDomainRecordOffset, machine::kDomainRecordStride>(domid);
}

}  // namespace xenopolis::domain
