// The cells of a host: starts them as they are needed and finds places in them.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "toolstack/keeper.h"
#include "toolstack/message_socket.h"
#include "toolstack/process.h"
#include "toolstack/silence.h"
#include "vcpu/cell_protocol.h"

namespace xenopolis::toolstack {

struct CellPoolConfig {
  std::string cell_program;  // path of polis-cell
  std::string backend;       // "kvm" or "hosted"
  std::string log_level = "info";
  uint32_t domains_per_cell = machine::kVcpusPerDoorbell;  // 1..64
  // How many cells are filled at the same time: one per CPU keeps all CPUs busy while domains are built.
  uint32_t open_cells = 2;
};

// A place for one domain.
struct Place {
  uint32_t cell;
  uint32_t slot;
};

class CellPool {
 public:
  using ReplyHandler = std::function<void(uint32_t cell, const vcpu::CellReply&)>;
  // The cell's process has ended, and with it the vCPUs of `domains`; their places are gone. `why`: "could not start:
  // ..." with the error that it gave, or how it ended, with ECANCELED.
  using DeathHandler = std::function<void(uint32_t cell, const Error& why, const std::vector<DomId>& domains)>;

  CellPool(EventLoop& loop, machine::Machine& machine, Keeper& keeper, CellPoolConfig config, ReplyHandler on_reply,
           DeathHandler on_death);
  ~CellPool();

  // What polis-keeper calls the cell that a polisd before this one has started; nothing for other keys.
  static std::optional<uint32_t> number_of(std::string_view key);
  // Goes on with that cell. Its domains by place, from their records. Its end may be reported at once, by the loop.
  Status adopt(uint32_t number, Keeper::Kept kept,
               const std::array<std::optional<DomId>, machine::kVcpusPerDoorbell>& domains);

  // Takes a place for `domid`, starting a cell if necessary. EMFILE, EAGAIN, ... when no more cells can be started.
  // O(1).
  Result<Place> take(DomId domid);
  void give_back(const Place& place);

  void send(uint32_t cell, const vcpu::CellRequest& request, SharedFds fds = {});
  bool alive(uint32_t cell) const { return cells_.contains(cell); }
  size_t count() const { return cells_.size(); }
  std::vector<pid_t> pids() const;
  // For audits. The places of a cell: domains[slot].
  using Domains = std::array<std::optional<DomId>, machine::kVcpusPerDoorbell>;
  template <class Visitor>  // void(uint32_t cell, pid_t, const Domains&)
  void for_each(Visitor visit) const {
    for (const auto& [number, cell] : cells_) visit(number, cell->process.pid(), cell->domains);
  }
  // Those that have been asked for something and have not answered.
  template <class Visitor>  // void(uint32_t cell, pid_t, uint64_t answers)
  void for_each_asked(Visitor visit) const {
    for (const auto& [number, cell] : cells_) {
      if (cell->dialogue.is_asked()) visit(number, cell->process.pid(), cell->dialogue.answers);
    }
  }

 private:
  struct Cell {
    Process process;
    std::unique_ptr<MessageSocket<vcpu::CellRequest, vcpu::CellReply>> socket;
    std::array<std::optional<DomId>, machine::kVcpusPerDoorbell> domains;
    uint64_t free_slots;  // bit set: free
    Dialogue dialogue = {};
    std::optional<Error> complaint = {};  // why it could not start
  };

  Result<uint32_t> start_cell();
  Result<uint32_t> free_number() const;
  Status enter(uint32_t number, Process process, Fd socket);
  uint64_t all_slots() const;
  void on_reply(uint32_t number, const vcpu::CellReply& reply);
  void on_end(uint32_t cell);

  EventLoop& loop_;
  machine::Machine& machine_;
  Keeper& keeper_;
  CellPoolConfig config_;
  ReplyHandler on_reply_;
  DeathHandler on_death_;
  std::map<uint32_t, std::unique_ptr<Cell>> cells_;
  std::vector<uint32_t> open_;  // cells with free slots that are being filled in turn
  size_t next_open_ = 0;
  std::set<uint32_t> partly_free_;      // cells with free slots that are not in open_
  std::vector<uint32_t> free_numbers_;  // cell numbers of dead cells
  uint32_t next_number_ = 0;
};

}  // namespace xenopolis::toolstack
