// What event channels promise, in the plainest terms: which ports are open, who waits at their other ends, what is
// pending, masked, and whom the domain has been told of. It knows nothing of port words, bitmaps, links and locks.
//
// Every operation is told what the implementation answered, checks that, and does the same to its own state.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "event/consumer.h"
#include "event/port_table.h"

namespace xenopolis::event::model {

struct Channel {
  uint32_t status = EVTCHNSTAT_unbound;
  DomId remote_domid = 0;
  Port remote_port = 0;
  uint32_t virq = 0;
  VcpuId vcpu = 0;
  uint8_t priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
};

struct Vcpu {
  bool can_be_told = true;  // not while it lacks a control block (FIFO) or a selector (3-level)
  // FIFO: ports wait in line, by priority, until the vCPU comes to them; even those that were closed meanwhile.
  std::array<std::vector<Port>, kPriorities> lines;
  // The bitmap ABIs: ports it has been told of since it last looked.
  std::set<Port> told;
  std::array<Port, NR_VIRQS> virqs{};
  std::optional<Port> polled;  // SCHEDOP_poll; kAnyPort

  bool has_bell = false;
  // What must be seen from outside, and what may be: being told again of what is pending already.
  bool upcall = false, upcall_allowed = false;
  bool rung = false, ring_allowed = false;
};

struct Domain {
  // Ports 1 to `ballast` are open and nobody does anything to them: they move the others to higher numbers.
  Port ballast = 0;
  Port highest = 0;        // number that was ever in use
  Port reset_next = 1;     // where a reset goes on
  Port max_port = 0;       // 0: the ABI's
  bool masked = false;     // ports are, whose mask has not been touched
  bool untrusted = false;  // it writes what it likes: nothing is known that it keeps in its own memory
  bool was_untrusted = false;
  Abi abi = Abi::kTwoLevel, offered_abi = Abi::kTwoLevel;
  std::vector<bool> pages;  // FIFO: of the event array; whether the guest offered it with everything masked
  std::vector<Vcpu> vcpus;
  std::map<Port, Channel> open;
  std::set<Port> pending, in_line;
  std::map<Port, bool> masks;  // touched
  uint64_t sent = 0, delivered = 0;

  bool has_word(Port port) const { return abi != Abi::kFifo || port / kEventWordsPerPage < pages.size(); }
  bool is_masked(Port port) const;
  bool is_open(Port port) const { return port != 0 && (port <= ballast || open.count(port) != 0); }
  // Pending and not masked: to be served once its vCPU looks.
  bool is_due(Port port) const { return pending.count(port) != 0 && has_word(port) && !is_masked(port); }
};

class Model {
 public:
  static constexpr DomId kDomains = 4;  // 0 to 3

  // Called with an explanation; does not return.
  using Mismatch = std::function<void(const std::string& explanation)>;
  explicit Model(Mismatch mismatch) : mismatch_(std::move(mismatch)) {}

  bool exists(DomId domid) const { return domid < domains_.size() && domains_[domid].has_value(); }
  Domain& domain(DomId domid) { return domains_[domid].value(); }

  // --- life
  void create(DomId domid, const DomainConfig& config, bool masked);
  void destroy(DomId domid);
  void set_bell(DomId domid, VcpuId vcpu, bool has_bell);
  // Garbage is written to its memory from now on.
  void distrust(DomId domid) { domain(domid).untrusted = domain(domid).was_untrusted = true; }

  // --- EVTCHNOP_*; the answers as EventChannels gave them
  void alloc_unbound(DomId self, DomId domid, DomId remote, const XenResult<Port>& answer);
  void bind_interdomain(DomId self, VcpuId vcpu, DomId remote_domid, Port remote_port, const XenResult<Port>& answer);
  void bind_virq(DomId self, uint32_t virq, VcpuId vcpu, const XenResult<Port>& answer);
  void bind_ipi(DomId self, VcpuId vcpu, const XenResult<Port>& answer);
  void close(DomId self, Port port, const XenStatus& answer);
  void send(DomId self, Port port, const XenStatus& answer);
  void status(DomId self, DomId domid, Port port, const XenResult<PortStatus>& answer);
  void unmask(DomId self, Port port, const XenStatus& answer);
  void bind_vcpu(DomId self, Port port, VcpuId vcpu, const XenStatus& answer);
  void set_priority(DomId self, Port port, uint32_t priority, const XenStatus& answer);
  // `place`: is what the guest offers usable?
  void init_control(DomId self, VcpuId vcpu, bool place, const XenStatus& answer);
  void expand_array(DomId self, bool place, bool masked, const XenStatus& answer);
  void register_bitmaps(DomId self, bool place, const XenStatus& answer);
  void register_selector(DomId self, VcpuId vcpu, bool place, const XenStatus& answer);
  // Of at most `limit` ports. A domain that has reset itself cleans its memory, as a new kernel does.
  void reset_some(DomId self, DomId domid, uint32_t limit, const XenResult<bool>& answer);

  // --- from the hypervisor itself
  void raise_virq(DomId domid, VcpuId vcpu, uint32_t virq);
  // `place`: the vCPU's vcpu_info is still in shared_info, and the new place is usable.
  void register_vcpu_info(DomId domid, VcpuId vcpu, bool place, const XenStatus& answer);
  void begin_poll(DomId self, VcpuId vcpu, const std::vector<Port>& ports, const XenResult<bool>& answer);
  void end_poll(DomId self, VcpuId vcpu);

  // --- the guest's own doing
  void set_mask(DomId domid, Port port, bool masked);
  // The vCPU has served everything that it could find.
  void take(DomId domid, VcpuId vcpu, const std::vector<Port>& taken);

  // --- Dom0's consumers
  void consumer_bind(VcpuId vcpu, DomId remote_domid, Port remote_port, const XenResult<Port>& answer);
  void consumer_bind_virq(VcpuId vcpu, uint32_t virq, const XenResult<Port>& answer);
  void consumer_close(Port port, const XenStatus& answer);
  void consumer_take_over(VcpuId vcpu, Port port, const XenStatus& answer);
  void consumer_unmask(Port port);
  // Is there something that the consumer of `vcpu` must wake up for?
  bool consumer_has_work(VcpuId vcpu);
  // It serves `port` next, and then ends after so many in all.
  void consumer_serves(VcpuId vcpu, Port port);
  void consumer_drained(VcpuId vcpu, uint32_t budget, uint32_t served);
  // The consumer of `vcpu` has died, and was succeeded.
  void consumer_succeeded(VcpuId vcpu);

  // --- what can be seen at any time
  void see_vcpu(DomId domid, VcpuId vcpu, bool upcall, bool rung);
  void see_counters(DomId domid, const DomainCounters& counters);
  void expect(bool holds, const char* what) {
    if (!holds) mismatch_(what);
  }

 private:
  // 0: success.
  void expect_answer(int expected, int answer, const char* operation);
  template <class T>
  void expect_answer(int expected, const Result<T, XenErrno>& answer, const char* operation) {
    expect_answer(expected, answer ? 0 : static_cast<int>(answer.error()), operation);
  }

  bool has_number_to_reuse(const Domain& domain) const;
  // As a hypercall sees it: ports that were never used are known by 64.
  bool is_known(const Domain& domain, Port port) const;
  void open(Domain& domain, const Channel& channel, const XenResult<Port>& answer, int error, const char* operation);

  void deliver(Domain& domain, Port port);
  void tell(Domain& domain, Port port, bool again);
  void raise_upcall(Vcpu& vcpu);
  void ring(Vcpu& vcpu);
  void close_open(DomId domid, Port port);
  void disconnect(const Channel& channel, DomId from);
  void add_array_page(Domain& domain, bool masked);
  void grow_dom0_array(Port port);
  void change_abi(Domain& domain, Abi abi);
  // FIFO: the port that `vcpu` serves next, taken off its line; or 0.
  Port serve_next(Domain& domain, Vcpu& vcpu);

  Mismatch mismatch_;
  std::array<std::optional<Domain>, kDomains> domains_;
};

}  // namespace xenopolis::event::model
