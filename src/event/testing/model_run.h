// Operations, one after the other, on real event channels and on the model, which must agree after each.
#pragma once

#include <fmt/format.h>

#include <array>
#include <optional>
#include <vector>

#include "event/testing/event_model.h"
#include "event/testing/fresh_world.h"
#include "event/testing/guest_memory.h"

namespace xenopolis::event::model {

// What to do, and to whom; every value means something.
struct Step {
  uint8_t operation = 0, a = 0, b = 0, c = 0;
};

// Dom0 with two consumers, and three guests, of which kHostile may write garbage to its own memory, even in the middle
// of operations (at fault points). EVENT_MODEL_TRACE in the environment prints what is done.
class ModelRun {
 public:
  static constexpr DomId kGuests = 3, kHostile = 1;
  static constexpr VcpuId kConsumers = 2;

  struct Options {
    Abi dom0_abi = Abi::kFifo;
    bool hostile = false;
    bool many_ports = false;  // Dom0's ports begin at the end of the first page of its event array
    std::array<Step, kGuests> guests{};
  };

  // `mismatch` does not return.
  ModelRun(const Options& options, Model::Mismatch mismatch);
  ~ModelRun();
  ModelRun(const ModelRun&) = delete;

  void step(const Step& step);
  // Everything is compared, served and ended. `again`: and begun anew, because what a domain has left behind would harm
  // its successor.
  void finish(bool again = true);

 private:
  struct Guest {
    Step creation;
    std::vector<GuestSide> sides;  // of its vCPUs
    std::array<bool, kMaxVcpus> info_moved{};
    bool info_misplaced = false;
  };

  // --- model_run.cc
  static DomId guest(uint8_t x) { return static_cast<DomId>(1 + x % kGuests); }
  // An open port of the domain, mostly; else anything.
  Port pick(DomId domid, uint8_t x);
  std::optional<Port> pick_open(DomId domid, uint8_t x);
  // One of its vCPUs, mostly.
  VcpuId pick_vcpu(DomId domid, uint8_t x);
  bool is_honest(DomId domid) { return model_.exists(domid) && !model_.domain(domid).untrusted; }
  template <class... Arguments>
  void note(const char* what, const Arguments&... arguments) {
    if (!trace_) return;
    fmt::print(stderr, "{}", what);
    (fmt::print(stderr, " {}", arguments), ...);
    fmt::print(stderr, "\n");
  }
  // That it has taken since the beginning.
  uint64_t pages_of_dom0();
  void look_around();
  void compare_all();
  void serve_everything();
  void end_everything();

  // --- model_run_guest.cc
  void step_guest(const Step& step);
  void create(DomId domid, const Step& how);
  void destroy(DomId domid);
  void register_all(DomId domid, bool masked);
  void register_something(DomId domid, uint8_t b, uint8_t c);
  void reset(DomId self, DomId domid, uint32_t limit);
  void connect(DomId self, DomId other);
  void bind(DomId self, DomId other, uint8_t c);
  void send_from(DomId self, uint8_t x);
  void take(DomId domid, VcpuId vcpu);
  void take_all(DomId domid);
  void mask(DomId domid, Port port);
  void unmask(DomId domid, Port port, bool in_memory);
  void poll(DomId self, VcpuId vcpu, uint8_t c);
  void move_vcpu_info(DomId domid, VcpuId vcpu);
  void attack(uint8_t a, uint8_t b, uint8_t c);
  void offer_odd_place(uint8_t a, uint8_t b, uint8_t c);

  // --- model_run_dom0.cc
  void create_dom0_and_consumers(Abi abi, bool many_ports);
  void step_dom0(const Step& step);
  // `meanwhile`: what the first handler does.
  void drain(VcpuId vcpu, uint32_t budget, std::optional<Step> meanwhile = {});
  void dom0_connect(DomId other, VcpuId vcpu);
  void unmask_all_of_dom0();

  World& world_;
  EventChannels& channels_;
  Model model_;
  std::vector<Consumer> consumers_;
  std::array<Guest, kGuests + 1> guests_;
  bool hostile_;
  bool trace_;
  size_t dom0_pages_ = 0;    // of its event array, in the beginning
  uint64_t used_pages_ = 0;  // of the machine, in the beginning
};

// Garbage that is written to kHostile's memory when so many fault points have been passed, and at the next ones,
// changing.
struct Ambush {
  uint32_t countdown = 0;  // 0: none
  uint32_t repeat = 0;
  uint8_t kind = 0;
  Port port = 0, other = 0;
  uint8_t value = 0;
};
inline Ambush ambush;

}  // namespace xenopolis::event::model
