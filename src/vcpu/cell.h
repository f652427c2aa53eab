// A cell: one runner, the control socket to polisd, and the domains that polisd has it build.
#pragma once

#include <array>
#include <deque>

#include "base/fd.h"
#include "vcpu/boot.h"
#include "vcpu/cell_protocol.h"
#include "vcpu/runner.h"

namespace xenopolis::vcpu {

struct CellConfig {
  machine::DoorbellId number = 0;
  uint64_t slice_ns = 1'000'000;
};

// Everything happens in the thread that calls run().
class Cell {
 public:
  // `control` is a SOCK_SEQPACKET socket (cell_protocol.h).
  Cell(machine::Machine& machine, Backend& backend, Fd control, const CellConfig& config);

  // Until kQuit, or the end of polisd.
  Status run();

 private:
  enum class Control { kNothing, kRequest, kEnd };
  using RequestFds = std::array<Fd, kMaxRequestFds>;

  Control receive();
  void build(const CellRequest& request, const RequestFds& fds);
  Result<Booted> try_build(const CellRequest& request, const RequestFds& fds);
  void destroy(const CellRequest& request);
  // The domain is in its slot. Not so: it may have ended by itself, and the slot be another's by now.
  bool has(const CellRequest& request) const;
  Status pause(const CellRequest& request, bool is_paused);
  Status trigger(const CellRequest& request);
  void answer(CellReplyKind kind, const CellRequest& request, const Status& status);
  void reply(const CellReply& message);
  void flush_replies();

  MonotonicClock clock_;
  event::EventChannels events_;
  grant::GrantTables grants_;
  const Hypervisor hypervisor_;
  machine::Doorbells& doorbells_;
  Backend& backend_;
  Fd control_;
  CellConfig config_;
  ImageCache images_;
  std::deque<CellReply> replies_;  // that the socket had no room for
  std::unique_ptr<Runner> runner_;
};

}  // namespace xenopolis::vcpu
