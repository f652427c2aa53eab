// A domain for tests and fuzzing: a real machine, real event channels and grants, page tables that only take notes.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "domain/memory_layout.h"
#include "domain/registry.h"
#include "event/consumer.h"
#include "hypercall/hypercall.h"
#include "machine/domain_memory.h"

namespace xenopolis::hypercall {

// The domain's RAM, mapped at kBase and nothing else anywhere.
class RamMemory final : public GuestMemory {
 public:
  static constexpr uint64_t kBase = 0xffff'ffff'8000'0000;

  RamMemory(uint8_t* ram, uint64_t size) : ram_(ram), size_(size) {}

  bool copy_in(uint64_t guest_address, void* to, size_t size) override {
    const uint8_t* from = at(guest_address, size);
    if (from != nullptr) std::memcpy(to, from, size);
    return from != nullptr;
  }
  bool copy_out(uint64_t guest_address, const void* from, size_t size) override {
    uint8_t* to = read_only ? nullptr : at(guest_address, size);
    if (to != nullptr) std::memcpy(to, from, size);
    return to != nullptr;
  }

  bool read_only = false;

 private:
  uint8_t* at(uint64_t guest_address, size_t size) {
    const uint64_t offset = guest_address - kBase;
    return size <= size_ && offset <= size_ - size ? ram_ + offset : nullptr;
  }

  uint8_t* ram_;
  uint64_t size_;
};

class NotingMmu final : public Mmu {
 public:
  XenStatus write_entry(uint64_t address, uint64_t value, bool preserve) override {
    return note("write_entry", address, value, preserve);
  }
  XenStatus update_va_mapping(uint64_t va, uint64_t value) override { return note("update_va_mapping", va, value); }
  XenStatus set_m2p(Gfn mfn, uint64_t pfn) override { return note("set_m2p", mfn, pfn); }
  XenStatus pin(Gfn table, int level) override { return note("pin", table, static_cast<uint64_t>(level)); }
  XenStatus unpin(Gfn table) override { return note("unpin", table); }
  XenStatus new_kernel_base(Gfn table) override { return note("new_kernel_base", table); }
  XenStatus new_user_base(Gfn table) override { return note("new_user_base", table); }
  void flush_tlb() override { (void)note("flush_tlb"); }
  XenStatus set_gdt(const Gfn* frames, uint32_t count) override {
    return note("set_gdt", count, count != 0 ? frames[0] : 0);
  }

  struct Call {
    std::string name;
    uint64_t a, b, c;
    bool operator==(const Call&) const = default;
  };
  std::vector<Call> calls;
  XenStatus answer;
  bool notes = true;

 private:
  XenStatus note(const char* name, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
    if (notes) calls.push_back({name, a, b, c});
    return answer;
  }
};

class TestDomain {
 public:
  static constexpr DomId kDomId = 7;
  static constexpr uint64_t kRamPages = 1024;
  // Test arguments are put from here on; below lies what a test places itself.
  static constexpr uint64_t kScratch = RamMemory::kBase + 512 * kPageSize;

  enum class Kind { kPaged, kFlat };

  explicit TestDomain(Kind kind = Kind::kPaged)
      : machine_(machine::Machine::create(40 * machine::kGiB).value()),
        ram_(prepare_memory()),
        memory(ram_, kRamPages * kPageSize),
        context{.machine = machine_,
                .events = events,
                .grants = grants,
                .record = *domain::claim_record(kDomId).value(),
                .vcpu = vcpu,
                .memory = memory,
                .mmu = kind == Kind::kPaged ? &mmu : nullptr,
                .clock = clock,
                .emergency_console = [this](std::string_view text) { console += text; }} {
    const domain::MemoryLayout layout{kRamPages};
    shared = reinterpret_cast<shared_info*>(machine::memory_of(kDomId).page(layout.shared_info()));
    grants.create_domain(kDomId, layout.grant_frame(0), domain::kMaxGrantFrames);
    CHECK(event::create_dom0(events, event::Abi::kFifo).has_value());
    CHECK(events.create_domain(kDomId, {.shared_info = shared}).has_value());
    vcpu.domid = kDomId;
    clock.advance_ns(1'000'000'000);
  }

  template <class... Values>
  int64_t call(uint64_t number, Values... values) {
    return dispatch(context, number, Arguments{static_cast<uint64_t>(values)...});
  }

  // Places `value` in guest memory, for this call; its guest address.
  template <class T>
  uint64_t put(const T& value) {
    const uint64_t address = next_;
    CHECK(memory.write(address, value));
    next_ += (sizeof value + 63) / 64 * 64;
    return address;
  }
  template <class T>
  T get(uint64_t address) {
    T value;
    CHECK(memory.read(address, value));
    return value;
  }

  vcpu_info& info() { return *events.info_of(kDomId, 0); }
  uint8_t* ram() { return ram_; }

 private:
  uint8_t* prepare_memory() {
    const domain::MemoryLayout layout{kRamPages};
    machine::DomainMemory& domain_memory = machine::memory_of(kDomId);
    domain_memory.extent = machine_.frames().allocate_extent(layout.total_pages()).value();
    domain_memory.ram_pages = kRamPages;
    return domain_memory.extent.begin();
  }

  machine::Machine machine_;
  uint8_t* ram_;
  uint64_t next_ = kScratch;

 public:
  event::EventChannels events{machine_};
  grant::GrantTables grants{machine_};
  domain::PvVcpu vcpu;
  RamMemory memory;
  NotingMmu mmu;
  ManualClock clock;
  std::string console;
  shared_info* shared = nullptr;
  Context context;
};

// A guest address that is mapped nowhere.
inline constexpr uint64_t kNowhere = 0x1000;
// What a guest may do to arguments: none of these may harm.
inline constexpr uint64_t kWildValues[] = {0,
                                           1,
                                           7,
                                           DOMID_SELF,
                                           0x7fffffff,
                                           0x80000000,
                                           0xffffffff,
                                           kNowhere,
                                           RamMemory::kBase,
                                           TestDomain::kScratch,
                                           RamMemory::kBase + TestDomain::kRamPages* kPageSize - 1,
                                           0x7fff'ffff'ffff'f000,
                                           0x8000'0000'0000'0000,
                                           ~0ull};

}  // namespace xenopolis::hypercall
