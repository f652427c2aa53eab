// A hostile guest: any sequence of hypercalls, whose structures lie in memory that it fills as it likes, and of entries
// into a kernel whose registers are anything. Domain, event channels and grants are real; page tables take no notes.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>

#include "hypercall/bounce.h"
#include "hypercall/test_domain.h"
#include "hypercall/time.h"

namespace xenopolis::hypercall {
namespace {

constexpr unsigned kMaxSteps = 64;
constexpr int64_t kMaxErrno = 4095;
constexpr uint64_t kCode = RamMemory::kBase + kPageSize;
constexpr uint64_t kRamEnd = RamMemory::kBase + TestDomain::kRamPages * kPageSize;

enum class Step : uint8_t {
  kCall,
  kFill,
  kFillList,
  kGrant,
  kMap,
  kUpcall,
  kException,
  kSyscall,
  kMode,
  kMaxValue = kMode
};

class Guest {
 public:
  Guest(const uint8_t* data, size_t size)
      : input_(data, size), domain_(input_.ConsumeBool() ? TestDomain::Kind::kPaged : TestDomain::Kind::kFlat) {
    domain_.mmu.notes = false;
    domain_.vcpu.callbacks = {.event = kCode, .failsafe = kCode, .syscall = kCode};
    domain_.vcpu.registers.rsp = domain_.vcpu.kernel_rsp = TestDomain::kScratch + kPageSize;
  }

  void live() {
    for (unsigned i = 0; i < kMaxSteps && input_.remaining_bytes() > 0; ++i) step();
    domain_.grants.destroy_domain(TestDomain::kDomId);
    domain_.events.destroy_domain(TestDomain::kDomId);
  }

 private:
  void step() {
    switch (input_.ConsumeEnum<Step>()) {
      case Step::kCall:
        call();
        break;
      case Step::kFill:
        fill();
        break;
      case Step::kFillList:
        fill_list();
        break;
      case Step::kGrant:
        offer_grant();
        break;
      case Step::kMap:
        map_grant();
        break;
      case Step::kUpcall:
        (void)deliver_event_upcall(domain_.vcpu, domain_.info(), domain_.memory);
        break;
      case Step::kException:
        (void)deliver_exception(domain_.vcpu, domain_.info(), domain_.memory, input_.ConsumeIntegral<uint8_t>(),
                                input_.ConsumeIntegral<uint32_t>(), value());
        break;
      case Step::kSyscall:
        (void)deliver_syscall(domain_.vcpu, domain_.info(), domain_.memory);
        break;
      case Step::kMode:
        set_kernel_mode(domain_.vcpu, input_.ConsumeBool());
        domain_.vcpu.registers.rsp = value();
        set_runstate(domain_.vcpu, input_.ConsumeIntegralInRange(0, 3), domain_.clock.now_ns());
        domain_.clock.advance_ns(1);
        publish_runstate(domain_.vcpu, domain_.memory);
        break;
    }
  }

  // Numbers that mean something, addresses in RAM and at its edges, and anything.
  uint64_t value() {
    switch (input_.ConsumeIntegralInRange(0, 4)) {
      case 0:
        return input_.ConsumeIntegralInRange<uint64_t>(0, 64);
      case 1:
        return kWildValues[input_.ConsumeIntegralInRange<size_t>(0, std::size(kWildValues) - 1)];
      case 2:
        return TestDomain::kScratch + input_.ConsumeIntegral<uint8_t>() * 8;
      case 3:
        return kRamEnd - input_.ConsumeIntegral<uint8_t>();
      default:
        return input_.ConsumeIntegral<uint64_t>();
    }
  }

  void call() {
    const uint64_t number = input_.ConsumeIntegralInRange<uint64_t>(0, 56);
    Arguments arguments;
    for (uint64_t& argument : arguments) argument = value();
    const int64_t answer = dispatch(domain_.context, number, arguments);
    if (answer < -kMaxErrno && number != __HYPERVISOR_get_debugreg) std::abort();
    // A domain that has ended goes on here, as what follows is worth trying all the same.
    if (domain_.vcpu.after == domain::AfterHypercall::kPoll) domain_.events.end_poll(TestDomain::kDomId, 0);
  }

  // A structure of the guest's choice, where addresses point to.
  void fill() {
    const uint64_t address = TestDomain::kScratch + input_.ConsumeIntegral<uint8_t>() * 8;
    const unsigned words = input_.ConsumeIntegralInRange(1, 16);
    for (unsigned i = 0; i < words; ++i) (void)domain_.memory.write(address + i * 8, value());
  }

  // A list of hypercalls, for multicall.
  void fill_list() {
    const unsigned count = input_.ConsumeIntegralInRange(1, 8);
    for (unsigned i = 0; i < count; ++i) {
      multicall_entry_t entry{};
      entry.op = input_.ConsumeIntegralInRange<uint64_t>(0, 56);
      for (xen_ulong_t& argument : entry.args) argument = value();
      (void)domain_.memory.write(TestDomain::kScratch + i * sizeof entry, entry);
    }
  }

  void offer_grant() {
    const domain::MemoryLayout layout{TestDomain::kRamPages};
    auto* entries = reinterpret_cast<uint64_t*>(machine::memory_of(TestDomain::kDomId).page(layout.grant_frame(0)));
    entries[input_.ConsumeIntegral<uint8_t>()] = value();
  }

  void map_grant() {
    void* page = nullptr;
    const grant_ref_t reference = input_.ConsumeIntegral<uint16_t>();
    const bool read_only = input_.ConsumeBool();
    const uint8_t* ram = domain_.ram();
    if (domain_.grants.map(kDom0, TestDomain::kDomId, reference, read_only, &page) == GNTST_okay &&
        (page < ram || page >= ram + TestDomain::kRamPages * kPageSize)) {
      std::abort();
    }
    if (input_.ConsumeBool()) (void)domain_.grants.unmap(kDom0, TestDomain::kDomId, reference, read_only);
  }

  FuzzedDataProvider input_;
  TestDomain domain_;
};

}  // namespace
}  // namespace xenopolis::hypercall

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  xenopolis::hypercall::Guest(data, size).live();
  return 0;
}
